package trace_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	otel "go.opentelemetry.io/otel/trace"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/trace"
)

const (
	kept    = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	notKept = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-00"
)

func newTracer(t *testing.T, ratio float64) (*trace.Tracer, *tracetest.SpanRecorder) {
	t.Helper()
	ended := tracetest.NewSpanRecorder()
	tracer := trace.New(sdk.NewTracerProvider(sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(ratio))), sdk.WithSpanProcessor(ended)))
	t.Cleanup(tracer.Close)
	return tracer, ended
}

// work is what a request does with its spans.
func work(ctx context.Context, tracer *trace.Tracer, parents []string) {
	ctx, request := tracer.Request(ctx, "get", "resp", parents)
	ctx, span := trace.Begin(ctx, "forward")
	span.Text("lightning.to", "a")
	span.Number("lightning.commands", 1)
	_ = trace.Join(span, trace.FromContext(ctx)).Child("late", time.Time{})
	_ = span.Parents()
	span.End(nil)
	request.End(nil)
}

// TestNoTracingAllocatesNothing is TR1.
func TestNoTracingAllocatesNothing(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(context.Background(), key{}, "other")
	if n := testing.AllocsPerRun(1000, func() { work(ctx, nil, nil) }); n != 0 {
		t.Errorf("work that nobody traces allocates %v times", n)
	}
}

func BenchmarkUntraced(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		work(context.Background(), nil, nil)
	}
}

func TestTheSenderDecidesWhatIsKept(t *testing.T) {
	for _, c := range []struct {
		name    string
		ratio   float64
		parents []string
		want    int
	}{
		{"nobody", 1, nil, 1}, {"nobody", 0, nil, 0},
		{"kept", 0, []string{kept}, 1}, {"not kept", 1, []string{notKept}, 0},
		{"damaged", 0, []string{kept[1:]}, 0}, {"damaged", 1, []string{"00-00-00-01"}, 1},
		{"both", 0, []string{notKept, kept}, 1}, {"several", 0, []string{kept, kept}, 2},
	} {
		t.Run(fmt.Sprintf("%s/ratio=%v", c.name, c.ratio), func(t *testing.T) {
			tracer, ended := newTracer(t, c.ratio)
			ctx, span := tracer.Request(t.Context(), "get", "resp", c.parents)
			span.End(nil)
			if got := len(ended.Ended()); got != c.want {
				t.Errorf("%d spans, want %d", got, c.want)
			}
			if (ctx == t.Context()) != (c.want == 0) || (trace.FromContext(ctx) != nil) != (c.want > 0) {
				t.Error("the context does not say what is traced")
			}
			if _, span = tracer.Continue(t.Context(), "serve get", nil); span != nil {
				t.Error("what another node sent began a trace")
			}
		})
	}
}

// TestSharedWorkIsInEachTrace, and its parts name each other.
func TestSharedWorkIsInEachTrace(t *testing.T) {
	tracer, ended := newTracer(t, 1)
	_, a := tracer.Request(t.Context(), "get", "resp", nil)
	_, b := tracer.Request(t.Context(), "get", "resp", nil)
	began := time.Unix(1000, 0)
	trace.Join(nil, a, nil, b).Child("propose", began).EndAt(began.Add(time.Second), api.Errorf(api.CodeOverloaded, "the key is secret"))
	spans := ended.Ended()
	if len(spans) != 2 {
		t.Fatalf("%d spans, want 2", len(spans))
	}
	for i, s := range spans {
		other := spans[1-i].SpanContext().TraceID()
		if s.SpanContext().TraceID() == other || len(s.Links()) != 1 || s.Links()[0].SpanContext.TraceID() != other {
			t.Errorf("span %d does not name the other trace: %v", i, s.Links())
		}
		if !s.StartTime().Equal(began) || s.EndTime().Sub(began) != time.Second || s.Status().Description != string(api.CodeOverloaded) {
			t.Errorf("span %d: from %v to %v, %v", i, s.StartTime(), s.EndTime(), s.Status())
		}
	}
}

// TestWorkForManyHasFewSpans is TR2.
func TestWorkForManyHasFewSpans(t *testing.T) {
	tracer, ended := newTracer(t, 0)
	_, span := tracer.Request(t.Context(), "get", "grpc", slices.Repeat([]string{kept}, 100))
	if got := len(trace.Join(span, span, span).Parents()); got != 16 {
		t.Errorf("work for many has %d parts", got)
	}
	span.End(errors.New("no code"))
	if got := len(ended.Ended()); got != 100 {
		t.Errorf("%d of 100 requests have spans", got)
	}
}

func TestTheHeaderNamesTheSpan(t *testing.T) {
	tracer, _ := newTracer(t, 1)
	_, span := tracer.Request(t.Context(), "get", "resp", []string{kept})
	_, child := tracer.Continue(t.Context(), "serve get", span.Parents())
	if parents := child.Parents(); len(parents) != 1 || parents[0][:35] != kept[:35] || parents[0] == span.Parents()[0] {
		t.Errorf("%v goes on as %v", span.Parents(), parents)
	}
	if got := trace.Traceparent(t.Context()); got != "" {
		t.Errorf("a caller without a trace hands %q on", got)
	}
	caller := otel.ContextWithSpanContext(t.Context(), otel.NewSpanContext(otel.SpanContextConfig{TraceID: otel.TraceID{1}, SpanID: otel.SpanID{2}}))
	if got := trace.Traceparent(caller); got != "00-01000000000000000000000000000000-0200000000000000-00" {
		t.Errorf("a caller in a trace hands %q on", got)
	}
}

func TestAfterTheLastTracerNothingIsTraced(t *testing.T) {
	tracer, _ := newTracer(t, 1)
	ctx, _ := tracer.Request(t.Context(), "get", "resp", nil)
	tracer.Close()
	tracer.Close()
	if trace.FromContext(ctx) != nil {
		t.Error("a closed tracer goes on")
	}
}
