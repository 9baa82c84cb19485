package http

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lightning-db/lightning/internal/network"
	"github.com/lightning-db/lightning/internal/trace"
)

// Options are the settings of a Server. Alive, Ready and Metrics are required. Nothing in it
// changes while the server runs.
type Options struct {
	// Alive says why the process should be ended, nil while it is well.
	Alive func() error
	// Ready says why the node should get no requests, nil when it should.
	Ready   func() error
	Metrics *Metrics
	// Store serves /v1/. Default: the data is not served by HTTP.
	Store Store
	// Access decides who may use the routes that are not open. Default: everyone.
	Access Access
	// Tracer begins and goes on with the traces of requests of the data. Default: none.
	Tracer *trace.Tracer
	Logger *slog.Logger // default: silence
}

// Server serves HTTP. Safe for concurrent use.
type Server struct {
	http *http.Server
}

// Bounds of a connection, far above what an honest client needs. Requests of the data get more
// time for their values, once it is known that they may be made.
const (
	headerTimeout  = 5 * time.Second
	requestTimeout = 10 * time.Second
	answerTimeout  = 30 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 16 << 10
	closeGrace     = 3 * time.Second
)

// New makes a Server. It starts no goroutine.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", check(o.Alive))
	mux.HandleFunc("GET /readyz", check(o.Ready))
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics.registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
		Timeout:             requestTimeout,
	}))
	if o.Store != nil {
		registerData(mux, o)
	}
	return &Server{http: &http.Server{
		Handler:           guard(o.Access, mux),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}}
}

// check answers ok, or 503 and why not.
func check(probe func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		text := "ok"
		if err := probe(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			text = err.Error()
		}
		_, _ = io.WriteString(w, text+"\n") // a client that is gone does not need it
	}
}

// Serve accepts connections until Close, then returns nil. It closes the listener.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.http.Serve(network.Bounded(ln)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return nil
}

// Close stops accepting and waits for the requests that run, then cuts what is left.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	if s.http.Shutdown(ctx) == nil {
		return nil
	}
	return s.http.Close()
}
