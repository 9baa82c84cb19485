package bench

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// tally is what was counted.
type tally struct {
	latency [kindCount]histogram
	errors  map[string]uint64
	failed  uint64
	last    time.Time // when the last counted round ended
}

func newTally() *tally { return &tally{errors: make(map[string]uint64)} }

// add counts a round and reports whether some of it succeeded. Failures have no latency: an
// error that comes at once would make a store that is down look fast.
func (t *tally) add(target Target, operations []Operation, outcomes []error, took time.Duration, ended time.Time) bool {
	t.last = ended
	succeeded := false
	for i, err := range outcomes {
		if err == nil {
			t.latency[operations[i].Kind].add(took, 1)
			succeeded = true
			continue
		}
		t.countError(target.Code(err), 1)
	}
	return succeeded
}

func (t *tally) countError(code string, times uint64) {
	if _, known := t.errors[code]; !known && len(t.errors) >= maxErrorCodes {
		code = otherErrors
	}
	t.errors[code] += times
	t.failed += times
}

func (t *tally) merge(other *tally) {
	for kind := range t.latency {
		t.latency[kind].merge(&other.latency[kind])
	}
	for code, n := range other.errors {
		t.countError(code, n)
	}
	if other.last.After(t.last) {
		t.last = other.last
	}
}

// Report is what a run found.
type Report struct {
	Target       string       `json:"target"`
	Workload     Workload     `json:"workload"`
	Distribution Distribution `json:"distribution"`
	Clients      int          `json:"clients"`
	Pipeline     int          `json:"pipeline"`
	ValueBytes   int          `json:"value_bytes"`
	Keys         int          `json:"keys"`
	Seed         uint64       `json:"seed"`
	// Seconds from the end of the warm-up until the last answer.
	Seconds float64 `json:"seconds"`
	// Interrupted is true when the run was stopped from outside.
	Interrupted bool             `json:"interrupted"`
	All         Latency          `json:"all"`
	ByKind      map[Name]Latency `json:"by_operation,omitempty"` // when there are several
	// Failed operations are not among the others.
	Failed uint64            `json:"failed"`
	Errors map[string]uint64 `json:"errors,omitempty"` // by code
}

// Name is an operation's.
type Name string

// Latency is how long successful operations took, in milliseconds.
type Latency struct {
	Operations uint64  `json:"operations"`
	PerSecond  float64 `json:"per_second"`
	Mean       float64 `json:"mean_ms"`
	P50        float64 `json:"p50_ms"`
	P95        float64 `json:"p95_ms"`
	P99        float64 `json:"p99_ms"`
	Max        float64 `json:"max_ms"`
}

var kindNames = [kindCount]Name{Read: "get", Write: "set", Add: "incr"}

func (r *run) report(t *tally, interrupted bool) *Report {
	o := r.options
	seconds := max(t.last.Sub(r.begins).Seconds(), 0)
	rep := &Report{
		Target: r.target.Name(), Workload: o.Workload, Distribution: o.Distribution, Clients: o.Clients, Pipeline: o.Pipeline,
		ValueBytes: o.ValueBytes, Keys: o.KeyCount, Seed: o.Seed, Seconds: seconds, Interrupted: interrupted,
		ByKind: make(map[Name]Latency), Failed: t.failed, Errors: t.errors,
	}
	var all histogram
	for kind := range t.latency {
		h := &t.latency[kind]
		all.merge(h)
		if h.total > 0 {
			rep.ByKind[kindNames[kind]] = h.latency(seconds)
		}
	}
	rep.All = all.latency(seconds)
	if len(rep.ByKind) < 2 {
		rep.ByKind = nil
	}
	return rep
}

func (h *histogram) latency(seconds float64) Latency {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	l := Latency{
		Operations: h.total, Mean: ms(h.mean()), P50: ms(h.quantile(0.50)), P95: ms(h.quantile(0.95)),
		P99: ms(h.quantile(0.99)), Max: ms(h.max),
	}
	if seconds > 0 {
		l.PerSecond = float64(h.total) / seconds
	}
	return l
}

// Text is the report for people.
func (r *Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "target      %s\nworkload    %s, %d clients, pipeline %d, values of %d bytes, %d keys %s, seed %d\n",
		r.Target, r.Workload, r.Clients, r.Pipeline, r.ValueBytes, r.Keys, r.Distribution, r.Seed)
	fmt.Fprintf(&b, "measured    %.2f s", r.Seconds)
	if r.Interrupted {
		b.WriteString(", interrupted")
	}
	fmt.Fprintf(&b, "\nthroughput  %.0f operations/s (%d)\n", r.All.PerSecond, r.All.Operations)
	line := func(name string, l Latency) {
		fmt.Fprintf(&b, "%-11s p50 %.3f ms  p95 %.3f ms  p99 %.3f ms  max %.3f ms  mean %.3f ms\n", name, l.P50, l.P95, l.P99, l.Max, l.Mean)
	}
	line("latency", r.All)
	for _, name := range slices.Sorted(maps.Keys(r.ByKind)) {
		line("  "+string(name), r.ByKind[name])
	}
	if r.Failed == 0 {
		b.WriteString("errors      none\n")
		return b.String()
	}
	codes := slices.SortedFunc(maps.Keys(r.Errors), func(x, y string) int {
		return cmp.Or(cmp.Compare(r.Errors[y], r.Errors[x]), cmp.Compare(x, y))
	})
	fmt.Fprintf(&b, "errors      %d\n", r.Failed)
	for _, code := range codes {
		fmt.Fprintf(&b, "  %-20s %d\n", code, r.Errors[code])
	}
	return b.String()
}
