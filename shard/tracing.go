package shard

import (
	"time"

	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/trace"
	"github.com/lightning-db/lightning/raft"
)

// pendingTrace is a Pending in the traces of its requests; zero if it is in none. It is set before the Pending is queued.
type pendingTrace struct {
	span  *trace.Span
	began time.Time
}

func (t *pendingTrace) begin(span *trace.Span) {
	if span != nil {
		t.span, t.began = span, clock.Real{}.Now()
	}
}

// entryTrace is an entry in the traces of all its commands, from when it is taken off the queue. nil if nobody
// is traced.
type entryTrace struct {
	proposed *trace.Span
	followed func() raft.Passage // nil if the entry is not proposed
}

// newEntryTrace makes the spans of an entry, whose places are not empty.
func newEntryTrace(e *entry) *entryTrace {
	var spans []*trace.Span
	var last *Pending
	for i := range e.places {
		w := e.places[i].pending
		if w == last || w.trace.span == nil {
			continue
		}
		last = w
		span := w.trace.span.Child("propose", w.trace.began)
		span.Number("lightning.queue_us", clock.Real{}.Now().Sub(w.trace.began).Microseconds())
		span.Number("lightning.commands", int64(len(e.places)))
		spans = append(spans, span)
	}
	if spans == nil {
		return nil
	}
	return &entryTrace{proposed: trace.Join(spans...)}
}

// end ends the spans of an entry that is settled.
func (t *entryTrace) end(err error) {
	if t == nil {
		return
	}
	if t.followed != nil {
		p := t.followed()
		t.station("log sync", p.Stored, p.Durable)
		t.station("commit wait", p.Stored, p.Applying)
		t.station("apply", p.Applying, p.Applied)
	}
	t.proposed.End(err)
}

// station is a span between two stations of the entry, if it has been at both.
func (t *entryTrace) station(name string, from, to time.Time) {
	if !from.IsZero() && !to.IsZero() {
		t.proposed.Child(name, from).EndAt(to, nil)
	}
}
