package trace

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	otel "go.opentelemetry.io/otel/trace"

	"github.com/lightning-db/lightning/api"
)

// Header is the name of the W3C header that says what a request is a part of, in HTTP and in the
// metadata of gRPC.
const Header = "traceparent"

// scope names this instrumentation to who looks at spans.
const scope = "github.com/lightning-db/lightning"

// maxParts bounds the traces that one piece of work is shown in (TR2). With a sampling of a hundredth,
// the fullest entry has ten; more come from clients that sample much.
const maxParts = 16

// open counts the tracers of the process, so that FromContext need not look where there is none (TR1).
var open atomic.Int32

// Tracer begins the spans of requests. A nil Tracer begins none. Safe for concurrent use.
type Tracer struct {
	tracer otel.Tracer
	closed atomic.Bool
}

// New makes a Tracer of a provider, which decides what is sampled.
func New(p otel.TracerProvider) *Tracer {
	open.Add(1)
	return &Tracer{tracer: p.Tracer(scope)}
}

// Close ends the tracing of new work, for the whole process if it is the last one.
func (t *Tracer) Close() {
	if t != nil && t.closed.CompareAndSwap(false, true) {
		open.Add(-1)
	}
}

// Request begins the span of a request that a client has sent: a part of the traces that parents
// name, or of a trace of its own if none of them does.
func (t *Tracer) Request(ctx context.Context, verb, listener string, parents []string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	s, named := t.continued("request", otel.SpanKindServer, parents)
	if !named {
		s = s.with(t.start(context.Background(), "request", otel.SpanKindServer, nil, time.Time{}))
	}
	s.Text("lightning.verb", verb)
	s.Text("lightning.listener", listener)
	return s.Context(ctx), s
}

// Continue begins a span of the traces that parents name, which another node has sent; nil if they name none.
func (t *Tracer) Continue(ctx context.Context, name string, parents []string) (context.Context, *Span) {
	if t == nil || len(parents) == 0 {
		return ctx, nil
	}
	s, _ := t.continued(name, otel.SpanKindServer, parents)
	return s.Context(ctx), s
}

// continued tells also whether a parent was named, sampled or not.
func (t *Tracer) continued(name string, kind otel.SpanKind, parents []string) (s *Span, named bool) {
	for _, parent := range parents {
		ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{Header: parent})
		of := otel.SpanContextFromContext(ctx)
		named = named || of.IsValid()
		if of.IsSampled() {
			s = s.with(t.start(ctx, name, kind, nil, time.Time{}))
		}
	}
	return s, named
}

func (t *Tracer) start(ctx context.Context, name string, kind otel.SpanKind, links []otel.Link, at time.Time) otel.Span {
	return startSpan(ctx, t.tracer, name, kind, links, at)
}

func startSpan(ctx context.Context, t otel.Tracer, name string, kind otel.SpanKind, links []otel.Link, at time.Time) otel.Span {
	options := []otel.SpanStartOption{otel.WithSpanKind(kind), otel.WithLinks(links...)}
	if !at.IsZero() {
		options = append(options, otel.WithTimestamp(at))
	}
	_, s := t.Start(ctx, name, options...)
	return s
}

// Span is one piece of work, in the traces of all requests that it is done for. A nil Span is work
// of which nobody keeps a trace: all its methods do nothing.
type Span struct {
	parts []otel.Span // at least one
}

// with adds a part, unless it is not recorded or there are enough.
func (s *Span) with(part otel.Span) *Span {
	switch {
	case !part.IsRecording():
		return s
	case s == nil:
		return &Span{parts: []otel.Span{part}}
	case len(s.parts) < maxParts:
		s.parts = append(s.parts, part)
	default:
		part.End()
	}
	return s
}

// Join is one Span with the parts of all; nil if they have none.
func Join(spans ...*Span) *Span {
	var all *Span
	for _, s := range spans {
		switch {
		case s == nil:
		case all == nil:
			all = &Span{parts: slices.Clone(s.parts)}
		default:
			room := min(len(s.parts), maxParts-len(all.parts))
			all.parts = append(all.parts, s.parts[:room]...)
		}
	}
	return all
}

type contextKey struct{}

// Context is ctx with the span; ctx itself for nil.
func (s *Span) Context(ctx context.Context) context.Context {
	if s == nil {
		return ctx
	}
	return context.WithValue(ctx, contextKey{}, s)
}

// FromContext is the span that ctx was given last, nil if there is none.
func FromContext(ctx context.Context) *Span {
	if open.Load() == 0 {
		return nil
	}
	s, _ := ctx.Value(contextKey{}).(*Span)
	return s
}

// Begin begins a span below that of ctx; nil, and ctx itself, if there is none.
func Begin(ctx context.Context, name string) (context.Context, *Span) {
	parent := FromContext(ctx)
	if parent == nil {
		return ctx, nil
	}
	s := parent.Child(name, time.Time{})
	return s.Context(ctx), s
}

// Child is a span below this one that began at a time; the zero time is now.
func (s *Span) Child(name string, at time.Time) *Span {
	if s == nil {
		return nil
	}
	child := &Span{parts: make([]otel.Span, len(s.parts))}
	for i, parent := range s.parts {
		ctx := otel.ContextWithSpan(context.Background(), parent)
		child.parts[i] = startSpan(ctx, parent.TracerProvider().Tracer(scope), name, otel.SpanKindInternal, s.linksFrom(i), at)
	}
	return child
}

// linksFrom are links to the other parts.
func (s *Span) linksFrom(part int) []otel.Link {
	var links []otel.Link
	for i, other := range s.parts {
		if i != part {
			links = append(links, otel.Link{SpanContext: other.SpanContext()})
		}
	}
	return links
}

// Text notes a word about the work, never a key, a value or a text of a client (TR3).
func (s *Span) Text(name, value string) {
	if s == nil {
		return
	}
	for _, part := range s.parts {
		part.SetAttributes(attribute.String(name, value))
	}
}

// Number notes a count or an id.
func (s *Span) Number(name string, value int64) {
	if s == nil {
		return
	}
	for _, part := range s.parts {
		part.SetAttributes(attribute.Int64(name, value))
	}
}

// End ends the work; of an error the trace gets its code (TR3).
func (s *Span) End(err error) { s.EndAt(time.Time{}, err) }

// EndAt is End at a time; the zero time is now.
func (s *Span) EndAt(at time.Time, err error) {
	if s == nil {
		return
	}
	var options []otel.SpanEndOption
	if !at.IsZero() {
		options = append(options, otel.WithTimestamp(at))
	}
	for _, part := range s.parts {
		if err != nil {
			part.SetStatus(codes.Error, codeOf(err))
		}
		part.End(options...)
	}
}

// codeOf is what a trace says of an error.
func codeOf(err error) string {
	if code := api.CodeOf(err); code != "" {
		return string(code)
	}
	return "OTHER"
}

// Parents are the headers that let another node go on with the traces.
func (s *Span) Parents() []string {
	if s == nil {
		return nil
	}
	parents := make([]string, len(s.parts))
	for i, part := range s.parts {
		parents[i] = headerOf(otel.ContextWithSpan(context.Background(), part))
	}
	return parents
}

// Traceparent is the header of the span that a program which uses OpenTelemetry has put into ctx; empty if there is none.
func Traceparent(ctx context.Context) string {
	if !otel.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	return headerOf(ctx)
}

func headerOf(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[Header]
}
