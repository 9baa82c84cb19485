package history

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// ListOp is one step of a transaction on lists: it appends Value to the list Key, or reads the list.
// Every value is appended at most once to a key, so that a list tells who wrote it and in which order.
type ListOp struct {
	Key    string
	Append bool
	Value  int64
	Read   []int64 // what was there; only of a transaction that is OK
}

// String implements fmt.Stringer.
func (o ListOp) String() string {
	if o.Append {
		return fmt.Sprintf("append %s %d", o.Key, o.Value)
	}
	return fmt.Sprintf("read %s %v", o.Key, o.Read)
}

// Transaction is a list of steps that are done together or not at all.
type Transaction struct {
	Client  int
	Ops     []ListOp
	Call    time.Duration
	Return  time.Duration // forever when the outcome is unknown
	Outcome Outcome
}

// String prints one line.
func (t Transaction) String() string {
	ops := make([]string, len(t.Ops))
	for i, o := range t.Ops {
		ops[i] = o.String()
	}
	end := "…"
	if t.Return != forever {
		end = t.Return.Round(time.Microsecond).String()
	}
	return fmt.Sprintf("[%v, %s] client %d %s {%s}", t.Call.Round(time.Microsecond), end, t.Client, t.Outcome, strings.Join(ops, "; "))
}

// ListRecorder collects transactions. Safe for concurrent use.
type ListRecorder struct {
	start time.Time // set once

	mu struct {
		sync.Mutex
		transactions []*Transaction
		counts       map[Outcome]int
	}
}

// NewListRecorder starts the recorder's clock.
func NewListRecorder() *ListRecorder {
	r := &ListRecorder{start: time.Now()}
	r.mu.counts = make(map[Outcome]int)
	return r
}

// PendingTransaction was begun and has not ended. Exactly one of its methods is called, once.
type PendingTransaction struct {
	r *ListRecorder
	t *Transaction
}

// Begin notes a call; do it right before the request is sent.
func (r *ListRecorder) Begin(client int, ops []ListOp) *PendingTransaction {
	t := &Transaction{Client: client, Ops: slices.Clone(ops), Return: forever}
	r.mu.Lock()
	defer r.mu.Unlock()
	t.Call = time.Since(r.start)
	r.mu.transactions = append(r.mu.transactions, t)
	return &PendingTransaction{r, t}
}

// OK ends a transaction that was answered; ops are those it was begun with, with what its reads saw.
func (p *PendingTransaction) OK(ops []ListOp) { p.end(OK, ops) }

// Unknown ends a transaction of which nobody knows whether it was done.
func (p *PendingTransaction) Unknown() { p.end(Unknown, p.t.Ops) }

// Failed ends a transaction that certainly was not and never will be done.
func (p *PendingTransaction) Failed() { p.end(Failed, p.t.Ops) }

func (p *PendingTransaction) end(outcome Outcome, ops []ListOp) {
	returned := time.Since(p.r.start)
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.t.Outcome, p.t.Ops = outcome, ops
	if outcome != Unknown {
		p.t.Return = returned
	}
	p.r.mu.counts[outcome]++
}

// Count is the number of transactions that ended with outcome so far.
func (r *ListRecorder) Count(outcome Outcome) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.counts[outcome]
}

// Transactions is the history so far, ordered by call, with those that failed: what they would have
// appended must be in no list. What has not ended is unknown.
func (r *ListRecorder) Transactions() []Transaction {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Transaction, 0, len(r.mu.transactions))
	for _, p := range r.mu.transactions {
		t := *p
		if t.Outcome == 0 {
			t.Outcome = Unknown
		}
		out = append(out, t)
	}
	slices.SortStableFunc(out, func(a, b Transaction) int { return int(a.Call - b.Call) })
	return out
}
