package history

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// Errors of Check.
var (
	ErrNotLinearizable = errors.New("history is not linearizable")
	// ErrGaveUp: the checker ran out of time, so the history proves nothing.
	ErrGaveUp = errors.New("checker gave up")
)

// Report says what was checked.
type Report struct {
	Operations, Unknown, Keys int
	// LargestKey is the operations of the key that has most.
	LargestKey int
	// Concurrency is the most operations that were open at once on one key, unknown ones included.
	Concurrency int
	Took        time.Duration
}

// String prints one line.
func (r Report) String() string {
	return fmt.Sprintf("%d operations (%d unknown) on %d keys, at most %d per key and %d at once, checked in %v",
		r.Operations, r.Unknown, r.Keys, r.LargestKey, r.Concurrency, r.Took.Round(time.Millisecond))
}

// Check decides whether ops could have happened to one correct copy under model. The error
// matches ErrNotLinearizable and shows the offending key's operations, or ErrGaveUp.
func Check(model porcupine.Model, ops []Operation, limit time.Duration) (Report, error) {
	history := make([]porcupine.Operation, 0, len(ops))
	report := Report{Operations: len(ops)}
	for _, op := range ops {
		op.Input.called, op.Input.returned = op.Call, op.Return
		history = append(history, porcupine.Operation{
			ClientId: op.Client, Input: op.Input, Call: int64(op.Call), Output: op.Output, Return: int64(op.Return),
		})
		if op.Outcome == Unknown {
			report.Unknown++
		}
	}
	start := time.Now()
	var failure error
	for _, part := range partition(history) {
		report.Keys++
		report.LargestKey = max(report.LargestKey, len(part))
		report.Concurrency = max(report.Concurrency, concurrency(part))
		if failure != nil {
			continue
		}
		switch porcupine.CheckOperationsTimeout(model, part, limit) {
		case porcupine.Illegal:
			failure = fmt.Errorf("%w: key %s:\n%s", ErrNotLinearizable, part[0].Input.(Input).Key, render(ops, part[0].Input.(Input).Key))
		case porcupine.Unknown:
			failure = fmt.Errorf("%w on key %s with %d operations after %v", ErrGaveUp, part[0].Input.(Input).Key, len(part), limit)
		}
	}
	report.Took = time.Since(start)
	return report, failure
}

func concurrency(part []porcupine.Operation) int {
	type edge struct {
		at   int64
		step int
	}
	var edges []edge
	for _, op := range part {
		edges = append(edges, edge{op.Call, 1}, edge{op.Return, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int {
		if a.at != b.at {
			return int(min(max(a.at-b.at, -1), 1))
		}
		return b.step - a.step
	})
	open, most := 0, 0
	for _, e := range edges {
		open += e.step
		most = max(most, open)
	}
	return most
}

// render prints the operations of one key. The whole key is printed: where the history went wrong
// is rarely where the checker stopped.
func render(ops []Operation, key string) string {
	var b strings.Builder
	for _, op := range ops {
		if op.Input.Key == key {
			fmt.Fprintln(&b, op)
		}
	}
	return b.String()
}
