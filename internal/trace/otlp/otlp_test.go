package otlp_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/lightning-db/lightning/internal/network"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/trace/otlp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, export grpc.StreamHandler) (endpoint string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnknownServiceHandler(export))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // it ends with Stop
	}()
	t.Cleanup(func() { server.Stop(); <-done })
	return "http://" + listener.Addr().String()
}

func take(_ any, stream grpc.ServerStream) error {
	if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
		return err
	}
	return stream.SendMsg(&emptypb.Empty{})
}

func open(t *testing.T, o otlp.Options) *otlp.Exporter {
	t.Helper()
	o.Ratio, o.Network = 1, network.TCP{}
	e, err := otlp.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func makeSpans(t *testing.T, e *otlp.Exporter, count int) {
	for range count {
		_, span := e.Tracer().Request(t.Context(), "get", "resp", nil)
		span.End(nil)
	}
}

func TestSpansAreSentWhileItRunsAndWhenItIsClosed(t *testing.T) {
	e := open(t, otlp.Options{Endpoint: serve(t, take)})
	makeSpans(t, e, 1000)
	testkit.Eventually(t, time.Minute, func() bool { return e.Sent() == 1000 })
	makeSpans(t, e, 1000)
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e.Sent() != 2000 || e.Dropped() != 0 {
		t.Errorf("of 2000 spans %d are sent and %d dropped", e.Sent(), e.Dropped())
	}
}

// TestACollectorThatHangsCostsSpansOnly is TE1: the queue is full, what comes is dropped, and the end does not wait.
func TestACollectorThatHangsCostsSpansOnly(t *testing.T) {
	var calls atomic.Int32
	stuck := make(chan struct{})
	endpoint := serve(t, func(_ any, stream grpc.ServerStream) error {
		calls.Add(1)
		<-stuck
		return errors.New("too late")
	})
	defer close(stuck)
	e := open(t, otlp.Options{Endpoint: endpoint})
	const count = 20000
	makeSpans(t, e, count)
	if e.Dropped() < count-3*4096 {
		t.Errorf("%d of %d spans are dropped", e.Dropped(), count)
	}
	testkit.Eventually(t, time.Minute, func() bool { return calls.Load() > 0 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if e.Sent() != 0 || e.Dropped() != count {
		t.Errorf("of %d spans %d are sent and %d dropped", count, e.Sent(), e.Dropped())
	}
	makeSpans(t, e, 1)
	if e.Dropped() != count+1 {
		t.Error("a span after the end is not dropped")
	}
}

// lines is a log that is read while it is written.
type lines struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(b)
}

func TestACollectorThatIsAwayIsALineOfTheLog(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close() // nobody is there
	var logged lines
	e := open(t, otlp.Options{Endpoint: "http://" + listener.Addr().String(), Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	for n := uint64(1); n <= 3; n++ {
		makeSpans(t, e, 1)
		testkit.Eventually(t, time.Minute, func() bool { return e.Dropped() == n })
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(logged.String(), "level=WARN"); got != 1 {
		t.Errorf("%d lines for three messages that were lost, want 1:\n%s", got, logged.String())
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	for _, endpoint := range []string{"", "host:4317", "grpc://host:4317", "http://host", "http://host:4317/v1/traces", "http://u:p@host:4317", "http://:4317"} {
		if otlp.Validate(endpoint, 1) == nil {
			t.Errorf("%q is taken for a collector", endpoint)
		}
	}
	for _, ratio := range []float64{-0.1, 1.1, math.NaN()} {
		if otlp.Validate("https://host:4317", ratio) == nil {
			t.Errorf("%v is taken for a share", ratio)
		}
	}
	if err := otlp.Validate("https://[::1]:4317", 0.01); err != nil {
		t.Error(err)
	}
}
