package history

import (
	"slices"
	"sync"
	"time"
)

// Recorder collects operations. Safe for concurrent use.
type Recorder struct {
	start time.Time // set once; only its monotonic part is used

	mu struct {
		sync.Mutex
		operations []*Operation
		counts     map[Outcome]int
	}
}

// NewRecorder starts the recorder's clock.
func NewRecorder() *Recorder {
	r := &Recorder{start: time.Now()}
	r.mu.counts = make(map[Outcome]int)
	return r
}

// Pending is an operation that was called and has not ended. Exactly one of its methods is
// called once, by the worker that began it.
type Pending struct {
	r  *Recorder
	op *Operation
}

// Begin notes a call; do it right before the request is sent.
func (r *Recorder) Begin(client int, in Input) *Pending {
	op := &Operation{Client: client, Input: in, Return: forever}
	r.mu.Lock()
	defer r.mu.Unlock()
	op.Call = time.Since(r.start)
	r.mu.operations = append(r.mu.operations, op)
	return &Pending{r: r, op: op}
}

// OK ends an operation that was answered.
func (p *Pending) OK(out Output) { p.end(OK, out) }

// Unknown ends an operation whose outcome cannot be told; why is for people.
func (p *Pending) Unknown(why string) { p.end(Unknown, Output{Unknown: true, Note: why}) }

// Failed ends an operation that certainly did not run.
func (p *Pending) Failed() { p.end(Failed, Output{}) }

func (p *Pending) end(outcome Outcome, out Output) {
	returned := time.Since(p.r.start)
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.op.Outcome, p.op.Output = outcome, out
	if outcome != Unknown {
		p.op.Return = returned
	}
	p.r.mu.counts[outcome]++
}

// Count is the number of operations that ended with outcome so far.
func (r *Recorder) Count(outcome Outcome) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.counts[outcome]
}

// Operations is the history so far, ordered by call. What has not ended is unknown (H2).
func (r *Recorder) Operations() []Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Operation
	for _, p := range r.mu.operations {
		op := *p
		if op.Outcome == 0 {
			op.Outcome, op.Output = Unknown, Output{Unknown: true, Note: "never ended"}
		}
		if op.Outcome == Failed || (op.Outcome == Unknown && op.Input.Kind == Read) {
			continue
		}
		out = append(out, op)
	}
	slices.SortStableFunc(out, func(a, b Operation) int { return int(a.Call - b.Call) })
	return out
}
