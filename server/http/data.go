package http

import (
	"context"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/trace"
	"github.com/lightning-db/lightning/server"
)

// Writer runs writes and tells of the node.
type Writer interface {
	Apply(ctx context.Context, b api.Batch) (api.Result, error)
	Status() *pb.StatusResponse
}

// Store is where the data is; *server.Server implements it.
type Store interface {
	Read(ctx context.Context, q server.Query) ([]api.Item, error)
	// OpenValue and PutValue read and write a value piece by piece.
	OpenValue(ctx context.Context, q server.Query) (*server.Value, error)
	PutValue(ctx context.Context, p server.Put, next func() ([]byte, error)) (api.Result, error)
	Writer
	Scan(ctx context.Context, r api.Range) iter.Seq2[api.Item, error]
}

const (
	// bodyTimeout is what a client has for sending or taking in one value: the largest one at
	// 1.1 MiB/s.
	bodyTimeout = time.Minute

	// writtenTimeout is what a client has for taking in the answer to a write.
	writtenTimeout = 5 * time.Second

	// maxTimeout bounds the time that a request may ask for.
	maxTimeout = time.Minute

	// maxBodyBytes bounds a body that is JSON, which is in memory whole. It needs more bytes than the value has:
	// base64 a third more, escapes up to six times as many, and such values are better sent as they are.
	maxBodyBytes = 2 * api.MaxWholeBytes

	// maxHeldBytes bounds the bodies and values that are in memory for requests under way; what
	// is beyond is refused as OVERLOADED. 16 of the largest.
	maxHeldBytes = 16 * maxBodyBytes

	// heldForPieces is what a value takes of it that is sent or taken in as it is: a piece.
	heldForPieces = api.MaxInlineBytes
)

// data serves the keys as JSON.
type data struct {
	store   Store
	observe func(op string, code api.Code, took time.Duration)
	open    func() bool // no password is needed
	tracer  *trace.Tracer
	clock   clock.Clock
	logger  *slog.Logger
	held    *semaphore.Weighted
}

// handler is a request of the data. It writes its answer, unless it returns an error.
type handler func(ctx context.Context, w http.ResponseWriter, r *http.Request) error

// registerData adds the routes of the data to mux. There is no other place that does.
func registerData(mux *http.ServeMux, o Options) {
	d := &data{
		store: o.Store, clock: clock.Real{}, logger: o.Logger, held: newBudget(), tracer: o.Tracer,
		observe: func(op string, code api.Code, took time.Duration) { o.Metrics.Request("http", op, code, took) },
		open:    func() bool { return o.Access == nil || !o.Access.Required() },
	}
	for _, route := range []struct {
		pattern, op string
		handle      handler
	}{
		{"GET /v1/kv/{key}", "get", d.get}, {"GET /v1/kv", "get", d.get},
		{"PUT /v1/kv/{key}", "put", d.put}, {"PUT /v1/kv", "put", d.put},
		{"DELETE /v1/kv/{key}", "delete", d.delete}, {"DELETE /v1/kv", "delete", d.delete},
		{"POST /v1/incr/{key}", "increment", d.increment}, {"POST /v1/incr", "increment", d.increment},
		{"GET /v1/scan", "scan", d.scan},
		{"GET /v1/status", "status", d.status},
	} {
		mux.HandleFunc(route.pattern, d.serve(route.op, route.handle))
	}
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		answerJSON(w, http.StatusNotFound, errorJSON{
			Code: string(api.CodeInvalid), Message: "there is no such route, or not by " + r.Method,
			Next: "see docs/http.md for the routes and their methods",
		})
	})
}

// serve does for every route what is the same for all.
func (d *data) serve(op string, handle handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		began := d.clock.Now()
		control := http.NewResponseController(w)
		deadline := clock.Real{}.Now().Add(bodyTimeout)
		_ = control.SetReadDeadline(deadline) // a connection that is gone fails at its use
		if op == "put" {
			// The answer is small, and comes after the body and the work.
			deadline = deadline.Add(maxTimeout + writtenTimeout)
		}
		_ = control.SetWriteDeadline(deadline)
		err := d.refuseBrowser(r)
		if err == nil {
			ctx, span := d.tracer.Request(r.Context(), op, "http", r.Header[http.CanonicalHeaderKey(trace.Header)])
			if span != nil {
				r = r.WithContext(ctx)
			}
			err = d.withDeadline(op, handle, w, r)
			span.End(err)
		}
		if op == "put" {
			_ = control.SetWriteDeadline(clock.Real{}.Now().Add(writtenTimeout)) // a long value may have waited for its turn
		}
		if err != nil {
			refuse(w, err)
		}
		d.observe(op, api.CodeOf(err), d.clock.Now().Sub(began))
	}
}

// withDeadline gives a request that makes sense the time that it asks for.
func (d *data) withDeadline(op string, handle handler, w http.ResponseWriter, r *http.Request) error {
	q, err := queryOf(r)
	if err == nil {
		err = refuseIgnored(op, q, r)
	}
	if err != nil {
		return err
	}
	millis, given, err := q.number("timeout_ms", uint64(maxTimeout.Milliseconds()))
	if err != nil || !given {
		if err != nil {
			return err
		}
		return handle(r.Context(), w, r)
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Duration(millis)*time.Millisecond)
	defer cancel()
	return handle(ctx, w, r)
}

// refuseBrowser keeps pages of the web from using a node that their reader can reach: it serves
// no pages itself, so a request that a page made is never meant. A page can also give its own
// name the address of this machine; then its requests name a host that a loopback listener does
// not have. With a password the page would have to know it.
func (d *data) refuseBrowser(r *http.Request) error {
	site := r.Header.Get("Sec-Fetch-Site")
	if r.Header.Get("Origin") != "" || site != "" && site != "none" {
		return api.Errorf(api.CodeDenied, "requests of web pages are not answered: the header Origin or Sec-Fetch-Site is set")
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if d.open() && isLoopback(local) && !isLocalName(r.Host) {
		return api.Errorf(api.CodeDenied, "this listener is on loopback and has no such host name; use 127.0.0.1 or localhost")
	}
	return nil
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

func isLocalName(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil || strings.EqualFold(name, "localhost")
}

func newBudget() *semaphore.Weighted { return semaphore.NewWeighted(maxHeldBytes) }

// hold reserves memory; release gives it back (O3).
func (d *data) hold(bytes int64) (release func(), err error) {
	if !d.held.TryAcquire(bytes) {
		return nil, api.Errorf(api.CodeOverloaded, "requests under way hold %d MiB of values, the limit", maxHeldBytes>>20)
	}
	return func() { d.held.Release(bytes) }, nil
}
