package http

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
)

const (
	linesType = "application/x-ndjson"

	defaultPageItems = 100
)

// pageJSON is one page of a scan.
type pageJSON struct {
	Items []itemJSON `json:"items"`
	// Resume is where the next page begins, as the parameter of the same name; absent at the end.
	Resume string `json:"resume,omitempty"`
}

// endJSON is the last line of a scan as lines.
type endJSON struct {
	End   bool       `json:"end"` // the list is complete
	Error *errorJSON `json:"error,omitempty"`
}

func (d *data) scan(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	selected, err := q.selected()
	if err != nil {
		return err
	}
	if accepts(r, linesType) {
		d.lines(ctx, w, selected)
		return nil
	}
	return d.page(ctx, w, selected)
}

// selected is the range that a scan asks for.
func (q query) selected() (api.Range, error) {
	var bounds [3][]byte
	for i, name := range []string{"prefix", "start", "end"} {
		var err error
		if bounds[i], err = q.bytes(name); err != nil {
			return api.Range{}, err
		}
	}
	r := api.Range{Start: bounds[1], End: bounds[2]}
	if prefix := bounds[0]; len(prefix) > 0 {
		if len(r.Start)+len(r.End) > 0 {
			return r, api.Errorf(api.CodeInvalid, "prefix excludes start and end")
		}
		r = api.PrefixRange(prefix)
	}
	var err error
	if r.Limit, _, err = q.number("limit", 1<<53); err != nil {
		return r, err
	}
	if r.Reverse, err = q.flag("reverse"); err != nil {
		return r, err
	}
	if r.KeysOnly, err = q.flag("keys_only"); err != nil {
		return r, err
	}
	if r.MaxStaleness, err = q.staleness(); err != nil {
		return r, err
	}
	return r, q.resumeAt(&r)
}

// resumeAt cuts off what earlier pages had. A place outside of the range does not widen it.
func (q query) resumeAt(r *api.Range) error {
	text, given := q.text("resume")
	if !given {
		return nil
	}
	at, err := fromBase64("resume", text)
	if err != nil || len(at) == 0 {
		return api.Errorf(api.CodeInvalid, "resume is not what an answer gave")
	}
	switch {
	case r.Reverse && (len(r.End) == 0 || bytes.Compare(at, r.End) < 0):
		r.End = at
	case !r.Reverse && bytes.Compare(at, r.Start) > 0:
		r.Start = at
	}
	return nil
}

// page answers with the first items of the range. It ends early when the items get large.
func (d *data) page(ctx context.Context, w http.ResponseWriter, r api.Range) error {
	most := int(min(r.Limit, api.MaxScanPageItems))
	if most == 0 {
		most = defaultPageItems
	}
	// The item after the last tells whether there is a next page.
	r.Limit = uint64(most) + 1
	release, err := d.hold(api.MaxScanPageBytes + api.MaxWholeBytes)
	if err != nil {
		return err
	}
	defer release()
	page := pageJSON{Items: []itemJSON{}}
	var last []byte
	size := 0
	for item, err := range d.store.Scan(ctx, r) {
		if err != nil {
			return err
		}
		if len(page.Items) == most || size >= api.MaxScanPageBytes {
			page.Resume = resumeAfter(last, r.Reverse)
			break
		}
		page.Items = append(page.Items, itemOf(item, r.KeysOnly))
		size += len(item.Key) + len(item.Value)
		last = item.Key
	}
	answerJSON(w, http.StatusOK, page)
	return nil
}

// resumeAfter names the place behind key in the order of the scan.
func resumeAfter(key []byte, reverse bool) string {
	if !reverse {
		key = append(bytes.Clone(key), 0) // the next possible key
	}
	return base64.RawURLEncoding.EncodeToString(key)
}

// lines streams the whole range. The status is sent before the first item, so how it ended is
// said by the last line; a stream without one broke.
func (d *data) lines(ctx context.Context, w http.ResponseWriter, r api.Range) {
	setHeaders(w, linesType)
	control := http.NewResponseController(w)
	encoder := newEncoder(w)
	end, unflushed := endJSON{End: true}, 0
	for item, err := range d.store.Scan(ctx, r) {
		if err != nil {
			failed := errorOf(err)
			end = endJSON{Error: &failed}
			break
		}
		if encoder.Encode(itemOf(item, r.KeysOnly)) != nil {
			return // the client is gone
		}
		if unflushed += len(item.Key) + len(item.Value) + 1; unflushed >= flushBytes {
			unflushed = 0
			// Every piece has the time of one value; a reader that takes nothing in is cut off.
			if control.SetWriteDeadline(clock.Real{}.Now().Add(bodyTimeout)) != nil || control.Flush() != nil {
				return
			}
		}
	}
	_ = json.NewEncoder(w).Encode(end) // a client that is gone does not need it
}

// flushBytes of items are sent at a time.
const flushBytes = 64 << 10
