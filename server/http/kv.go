package http

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/server"
)

const rawType = "application/octet-stream"

// get answers with the item as JSON, or with the value's bytes for Accept: application/octet-stream.
// As JSON a value is in memory whole, and so has at most api.MaxWholeBytes.
func (d *data) get(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	q, key, err := target(r)
	if err != nil {
		return err
	}
	bound, err := q.staleness()
	if err != nil {
		return err
	}
	query := server.Query{Keys: [][]byte{key}, MaxStaleness: bound}
	if accepts(r, rawType) {
		return d.getRaw(ctx, w, query)
	}
	items, err := d.store.Read(ctx, query)
	if err != nil {
		return err
	}
	item := items[0]
	if !item.Found {
		return errNoKey()
	}
	release, err := d.hold(int64(len(item.Value)))
	if err != nil {
		return err
	}
	defer release()
	item.Key = key
	setVersion(w, item.Version)
	answerJSON(w, http.StatusOK, itemOf(item, false))
	return nil
}

func errNoKey() error { return api.Errorf(api.CodeNotFound, "there is no such key") }

// getRaw answers with the value's bytes while they are read. If they end early the connection is closed before
// as many were sent as the header says.
func (d *data) getRaw(ctx context.Context, w http.ResponseWriter, q server.Query) error {
	release, err := d.hold(heldForPieces)
	if err != nil {
		return err
	}
	defer release()
	value, err := d.store.OpenValue(ctx, q)
	if err != nil {
		return err
	}
	defer value.Close()
	if !value.Found {
		return errNoKey()
	}
	piece, err := value.Next() // before the header: what fails at once is an error as any
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	setVersion(w, value.Version)
	if value.ExpiryMillis != 0 {
		w.Header().Set("X-Lightning-Expires-At-Ms", strconv.FormatUint(value.ExpiryMillis, 10))
	}
	setHeaders(w, rawType)
	w.Header().Set("Content-Length", strconv.FormatUint(value.Bytes, 10))
	for err == nil {
		if _, err = w.Write(piece); err != nil {
			return nil // a client that is gone does not need it
		}
		piece, err = value.Next()
	}
	if !errors.Is(err, io.EOF) {
		d.logger.Debug("a value could not be sent to its end", "error", err)
	}
	return nil
}

func accepts(r *http.Request, media string) bool {
	return strings.Contains(r.Header.Get("Accept"), media)
}

// target reads what every request about one key has.
func target(r *http.Request) (query, []byte, error) {
	q, err := queryOf(r)
	if err != nil {
		return nil, nil, err
	}
	key, err := keyOf(r, q)
	return q, key, err
}

// writtenJSON is the answer to a write.
type writtenJSON struct {
	Applied bool   `json:"applied"`
	Version string `json:"version,omitempty"`
	Existed *bool  `json:"existed,omitempty"`
	Number  *int64 `json:"number,omitempty"`
}

func (d *data) put(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	q, key, err := target(r)
	if err != nil {
		return err
	}
	op := api.Op{Kind: api.OpPut, Key: key}
	if op.Expiry, err = q.expiry(); err != nil {
		return err
	}
	if op.Condition, err = q.condition(); err != nil {
		return err
	}
	if !isJSON(r) {
		return d.putRaw(ctx, w, r, op)
	}
	body, release, err := d.readBody(r)
	if err != nil {
		return err
	}
	defer release()
	if op.Value, err = valueFromJSON(body); err != nil {
		return err
	}
	return d.write(ctx, w, op, func(api.OpResult, *writtenJSON) {})
}

func (d *data) delete(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	q, key, err := target(r)
	if err != nil {
		return err
	}
	op := api.Op{Kind: api.OpDelete, Key: key}
	if op.Condition, err = q.condition(); err != nil {
		return err
	}
	return d.write(ctx, w, op, func(res api.OpResult, out *writtenJSON) { out.Existed = &res.Existed })
}

func (d *data) increment(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	q, key, err := target(r)
	if err != nil {
		return err
	}
	op := api.Op{Kind: api.OpIncrement, Key: key, Delta: 1, Expiry: api.Expiry{Mode: api.ExpiryKeep}}
	if text, given := q.text("delta"); given {
		if op.Delta, err = strconv.ParseInt(text, 10, 64); err != nil {
			return api.Errorf(api.CodeInvalid, "delta is not a decimal 64-bit integer")
		}
	}
	return d.write(ctx, w, op, func(res api.OpResult, out *writtenJSON) { out.Number = &res.Number })
}

// write applies one operation. A condition that does not hold is 412 and no error: nothing went
// wrong, and nothing was written.
func (d *data) write(ctx context.Context, w http.ResponseWriter, op api.Op, more func(api.OpResult, *writtenJSON)) error {
	res, err := d.store.Apply(ctx, api.Batch{Ops: []api.Op{op}})
	if err != nil {
		return err
	}
	answerWritten(w, res, more)
	return nil
}

// answerWritten answers what a write of one operation came to.
func answerWritten(w http.ResponseWriter, res api.Result, more func(api.OpResult, *writtenJSON)) {
	if !res.Applied {
		answerJSON(w, http.StatusPreconditionFailed, writtenJSON{})
		return
	}
	out := writtenJSON{Applied: true, Version: versionText(res.Version)}
	more(res.Ops[0], &out)
	setVersion(w, res.Version)
	answerJSON(w, http.StatusOK, out)
}

// putRaw writes a body that is the value itself, while it comes.
func (d *data) putRaw(ctx context.Context, w http.ResponseWriter, r *http.Request, op api.Op) error {
	if r.ContentLength > api.MaxValueBytes {
		return tooLarge(api.MaxValueBytes)
	}
	release, err := d.hold(heldForPieces)
	if err != nil {
		return err
	}
	defer release()
	size := int64(api.MaxPartBytes)
	if r.ContentLength >= 0 {
		size = min(size, r.ContentLength+1)
	}
	piece := make([]byte, size)
	body := slowBody{body: r.Body, control: http.NewResponseController(w), left: bodyTimeout}
	var end error // a body that broke must not look complete at the next read
	next := func() ([]byte, error) {
		if end != nil {
			return nil, end
		}
		n, err := body.Read(piece)
		if end = err; err != nil && !errors.Is(err, io.EOF) {
			end = errBody()
		}
		return piece[:n], nil
	}
	res, err := d.store.PutValue(ctx, server.Put{Key: op.Key, Expiry: op.Expiry, Condition: op.Condition}, next)
	if err != nil {
		return err
	}
	answerWritten(w, res, func(api.OpResult, *writtenJSON) {})
	return nil
}

// slowBody gives the client its time for sending, and does not count how long the store takes for what has come.
type slowBody struct {
	body    io.Reader
	control *http.ResponseController
	left    time.Duration
}

func (b *slowBody) Read(p []byte) (int, error) {
	began := clock.Real{}.Now()
	_ = b.control.SetReadDeadline(began.Add(b.left)) // a connection that is gone fails at its use
	n, err := b.body.Read(p)
	b.left -= clock.Real{}.Now().Sub(began)
	return n, err
}

func (d *data) status(_ context.Context, w http.ResponseWriter, _ *http.Request) error {
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(d.store.Status())
	if err != nil {
		return api.Errorf(api.CodeInternal, "write the status as JSON: %w", err)
	}
	setHeaders(w, "application/json")
	_, _ = w.Write(append(text, '\n')) // a client that is gone does not need it
	return nil
}
