package otlp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/network"
	"github.com/lightning-db/lightning/internal/trace"
)

const (
	// maxQueued spans wait at most: four messages, about 4 MiB.
	maxQueued = 4096
	// maxMessage spans are sent at a time, about half a mebibyte.
	maxMessage = 512
	// sendInterval is how long a span waits for others.
	sendInterval = time.Second
	// sendTimeout is how long the collector may take for a message.
	sendTimeout = 5 * time.Second
	// quiet is how long nothing more is logged after a message was lost.
	quiet = time.Minute
)

// Options are the settings of an Exporter. Endpoint and Network are required.
type Options struct {
	// Endpoint is where the collector takes OTLP over gRPC: http://host:port, or https://host:port
	// with a certificate that the machine trusts.
	Endpoint string
	// Ratio is the share of the requests without a parent that begin a trace, from 0 to 1.
	Ratio float64
	// Network reaches the collector.
	Network network.Network
	// Node, Name and Version say who the spans are from.
	Node, Name, Version string
	Logger              *slog.Logger // default: silence
}

// Validate reports whether an endpoint and a ratio can work.
func Validate(endpoint string, ratio float64) error {
	var problems []error
	if _, err := parse(endpoint); err != nil {
		problems = append(problems, err)
	}
	if !(ratio >= 0 && ratio <= 1) {
		problems = append(problems, fmt.Errorf("the share of requests to trace is from 0 to 1, not %v", ratio))
	}
	return errors.Join(problems...)
}

func parse(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("a collector is http://host:port or https://host:port, not %q", endpoint)
	}
	return u, nil
}

// Exporter sends spans to a collector. Safe for concurrent use.
type Exporter struct {
	// Set by Open, never written again.
	conn     *grpc.ClientConn
	exporter sdk.SpanExporter
	provider *sdk.TracerProvider
	tracer   *trace.Tracer
	logger   *slog.Logger
	queue    chan sdk.ReadOnlySpan
	stop     chan struct{}
	done     chan struct{} // closed when exportLoop has ended
	last     context.Context
	giveUp   context.CancelFunc // of last
	closing  sync.Once

	sent, dropped atomic.Uint64

	// Owned by exportLoop.
	quietUntil time.Time
}

// Open makes an Exporter and begins to send. It does not wait for the collector.
func Open(o Options) (*Exporter, error) {
	if err := Validate(o.Endpoint, o.Ratio); err != nil {
		return nil, fmt.Errorf("open exporter of traces: %w", err)
	}
	u, _ := parse(o.Endpoint) // it was just validated
	secure := insecure.NewCredentials()
	if u.Scheme == "https" {
		secure = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()})
	}
	conn, err := grpc.NewClient("passthrough:///"+u.Host, grpc.WithTransportCredentials(secure),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return o.Network.Dial(ctx, address) }))
	if err != nil {
		return nil, fmt.Errorf("open exporter of traces: %w", err)
	}
	e := &Exporter{
		conn: conn, logger: o.Logger, exporter: otlptrace.NewUnstarted(collector{conn}),
		queue: make(chan sdk.ReadOnlySpan, maxQueued), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if e.logger == nil {
		e.logger = slog.New(slog.DiscardHandler)
	}
	e.last, e.giveUp = context.WithCancel(context.Background())
	e.provider = sdk.NewTracerProvider(
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(o.Ratio))),
		sdk.WithSpanProcessor(processor{e}),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "lightning-node"), attribute.String("service.version", o.Version),
			attribute.String("service.instance.id", o.Node), attribute.String("lightning.node", o.Name),
		)),
	)
	e.tracer = trace.New(e.provider)
	go e.exportLoop()
	return e, nil
}

// Tracer begins spans that are sent; nil for a nil Exporter.
func (e *Exporter) Tracer() *trace.Tracer {
	if e == nil {
		return nil
	}
	return e.tracer
}

// Sent and Dropped count spans: those that the collector has taken, and those that it never gets.
func (e *Exporter) Sent() uint64    { return e.sent.Load() }
func (e *Exporter) Dropped() uint64 { return e.dropped.Load() }

// Close sends what waits, until ctx ends, and waits for the loop. What ends later is dropped.
func (e *Exporter) Close(ctx context.Context) error {
	if e == nil {
		return nil
	}
	e.closing.Do(func() {
		e.tracer.Close()
		close(e.stop)
	})
	defer context.AfterFunc(ctx, e.giveUp)()
	<-e.done
	e.giveUp()
	return e.conn.Close()
}

// processor gives ended spans to the queue.
type processor struct{ *Exporter }

// OnStart implements sdk.SpanProcessor.
func (processor) OnStart(context.Context, sdk.ReadWriteSpan) {}

// OnEnd implements sdk.SpanProcessor (TE1).
func (p processor) OnEnd(s sdk.ReadOnlySpan) {
	select {
	case <-p.stop:
		p.dropped.Add(1)
		return
	default:
	}
	select {
	case p.queue <- s:
	default:
		p.dropped.Add(1)
	}
}

// Shutdown implements sdk.SpanProcessor; Close does it.
func (processor) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdk.SpanProcessor; Close does it.
func (processor) ForceFlush(context.Context) error { return nil }

// exportLoop sends what is queued until Close, and then the rest.
func (e *Exporter) exportLoop() {
	defer close(e.done)
	ticker := time.NewTicker(sendInterval)
	defer ticker.Stop()
	var spans []sdk.ReadOnlySpan
	for {
		select {
		case s := <-e.queue:
			if spans = append(spans, s); len(spans) < maxMessage {
				continue
			}
		case <-ticker.C:
		case <-e.stop:
			e.sendRest(spans)
			return
		}
		e.send(spans)
		spans = nil
	}
}

// sendRest sends what waits when the exporter is closed.
func (e *Exporter) sendRest(spans []sdk.ReadOnlySpan) {
	for {
		select {
		case s := <-e.queue:
			if spans = append(spans, s); len(spans) < maxMessage {
				continue
			}
		default:
			e.send(spans)
			return
		}
		e.send(spans)
		spans = nil
	}
}

func (e *Exporter) send(spans []sdk.ReadOnlySpan) {
	if len(spans) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(e.last, sendTimeout)
	defer cancel()
	err := e.exporter.ExportSpans(ctx, spans)
	if err == nil {
		e.sent.Add(uint64(len(spans)))
		return
	}
	e.dropped.Add(uint64(len(spans)))
	now := clock.Real{}.Now()
	if now.After(e.quietUntil) {
		e.quietUntil = now.Add(quiet)
		e.logger.Warn("the collector of traces does not take them; spans are dropped", "error", err, "dropped", e.dropped.Load())
	}
}

// collector is the service of OTLP, as otlptrace wants it.
type collector struct{ conn *grpc.ClientConn }

// exportMethod is the only one of the service.
const exportMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

// Start implements otlptrace.Client.
func (collector) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (collector) Stop(context.Context) error { return nil }

// UploadTraces implements otlptrace.Client. TracesData has the layout of the request of the service,
// ExportTraceServiceRequest, whose Go package would bring an HTTP gateway along; of the answer nothing is used.
func (c collector) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	return c.conn.Invoke(ctx, exportMethod, &tracepb.TracesData{ResourceSpans: spans}, &emptypb.Empty{})
}
