package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report gathers the rows of all repetitions.
type report struct {
	settings settings
	rows     map[measured][]row
	order    []measured
}

type measured struct{ system, workload string }

func newReport(s settings) *report {
	return &report{settings: s, rows: map[measured][]row{}}
}

func (r *report) add(system string, w workload, got row) {
	key := measured{system, w.name}
	if r.rows[key] == nil {
		r.order = append(r.order, key)
	}
	r.rows[key] = append(r.rows[key], got)
	fmt.Fprintf(os.Stderr, "%-20s %-16s %9.0f/s  p50 %8v  p99 %8v  %6.1f us of servers  %d failed %s\n",
		system, w.name, got.perSecond(), got.p50.Round(time.Microsecond), got.p99.Round(time.Microsecond), got.serverMicros(), got.failed, got.firstError)
}

// median is the run with the median rate.
func (r *report) median(key measured) (row, bool) {
	runs := slices.Clone(r.rows[key])
	if len(runs) == 0 {
		return row{}, false
	}
	slices.SortFunc(runs, func(a, b row) int { return cmp.Compare(a.perSecond(), b.perSecond()) })
	return runs[len(runs)/2], true
}

func (r *report) print(w io.Writer) {
	r.printHeader(w)
	fmt.Fprintln(w, "| workload | system | operations/s | min-max | p50 ms | p99 ms | p99.9 ms | server us/op | client us/op | disk bytes per user byte | failed |")
	fmt.Fprintln(w, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	keys := slices.Clone(r.order)
	slices.SortStableFunc(keys, func(a, b measured) int { return cmp.Compare(place(a.workload), place(b.workload)) })
	for _, key := range keys {
		m, _ := r.median(key)
		low, high := m.perSecond(), m.perSecond()
		var failed int64
		for _, other := range r.rows[key] {
			low, high, failed = min(low, other.perSecond()), max(high, other.perSecond()), failed+other.failed
		}
		fmt.Fprintf(w, "| %s | %s | %.0f | %.0f-%.0f | %s | %s | %s | %.1f | %.1f | %.1f | %d |\n", key.workload, key.system, m.perSecond(), low, high,
			millis(m.p50), millis(m.p99), millis(m.p999), m.serverMicros(), float64(m.clientCPU.Microseconds())/float64(max(m.ops, 1)),
			float64(m.diskBytes)/r.userBytes(m), failed)
	}
	r.printBreakdowns(w)
	r.printBars(w)
}

func place(name string) int {
	return slices.IndexFunc(workloads, func(w workload) bool { return w.name == name })
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000) }

func (r *report) printHeader(w io.Writer) {
	commit, _ := exec.Command("git", "-C", r.settings.root, "rev-parse", "--short", "HEAD").Output()
	fmt.Fprintf(w, "Commit %s, %s, %s/%s, %d cores, three server processes and the clients on them, loopback.\n",
		strings.TrimSpace(string(commit)), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	fmt.Fprintf(w, "%d keys of 16 bytes drawn uniformly, values of %d random bytes, closed loop, warm-up %v, window %v, median of %d.\n\n",
		r.settings.keys, r.settings.valueBytes, r.settings.warmUp, r.settings.window, r.settings.runs)
	all, err := systems(settings{systems: "none", builds: r.settings.builds}, os.TempDir())
	if err != nil {
		return
	}
	for _, sys := range all {
		if slices.ContainsFunc(r.order, func(m measured) bool { return m.system == sys.name }) {
			fmt.Fprintf(w, "* **%s**: %s. %s.\n", sys.name, sys.promise, sys.settings)
		}
	}
	fmt.Fprintln(w)
}

// bar is what the design wants of one figure.
type bar struct {
	text         string
	value        func(r *report) (float64, bool)
	bar, stretch float64
	below        bool // smaller is better
}

func (r *report) rate(system, workload string) (float64, bool) {
	m, ok := r.median(measured{system, workload})
	return m.perSecond(), ok
}

// over compares the rates of two rows.
func over(workload, peer, peerWorkload string) func(*report) (float64, bool) {
	return ratio("lightning", workload, peer, peerWorkload)
}

func ratio(system, workload, peer, peerWorkload string) func(*report) (float64, bool) {
	return func(r *report) (float64, bool) {
		ours, ok := r.rate(system, workload)
		theirs, both := r.rate(peer, peerWorkload)
		return ours / theirs, ok && both && theirs > 0
	}
}

func serverMicros(system, workload string) func(*report) (float64, bool) {
	return func(r *report) (float64, bool) {
		m, ok := r.median(measured{system, workload})
		return m.serverMicros(), ok
	}
}

var bars = []bar{
	{"PUT, 256 clients: times etcd", over("put-256", "etcd", "put-256"), 4, 6, false},
	{"PUT, 256 clients: times NATS with sync always", over("put-256", "nats", "put-256"), 2, 2, false},
	{"PUT, 256 clients: server CPU, us", serverMicros("lightning", "put-256"), 35, 25, true},
	{"PUT, 256 clients, one shard: server CPU, us", serverMicros("lightning-1-shards", "put-256"), 25, 20, true},
	{"PUT, 64 clients: times etcd", over("put-64", "etcd", "put-64"), 4, 6, false},
	{"PUT, 1 client: P50, share of etcd's", medianLatency, 0.5, 0.33, true},
	{"PUT, 64 clients, pipeline 16: times Redis with WAIT 1", over("put-64x16", "redis-wait", "put-64x16"), 1.5, 2.5, false},
	{"linearizable GET, 256 clients: times etcd", over("get-256", "etcd", "get-256"), 4, 6, false},
	{"linearizable GET, 256 clients: server CPU, us", serverMicros("lightning", "get-256"), 15, 8, true},
	{"linearizable GET, 64 clients, pipeline 16: times a single Redis", over("get-64x16", "redis-single", "get-64x16"), 0.4, 0.8, false},
	{"bounded-stale GET, 256 clients: times a single Redis", over("stale-get-256", "redis-single", "get-256"), 0.8, 1.2, false},
	{"mixed 80/20, 64 clients: times etcd", over("mixed-64", "etcd", "mixed-64"), 4, 7, false},
	{"gRPC, SDK, PUT, 256 clients: times etcd", over("grpc-put-256", "etcd", "put-256"), 2, 3, false},
	{"gRPC, SDK, GET, 256 clients: times etcd", over("grpc-get-256", "etcd", "get-256"), 2, 3, false},
	{"gRPC, unary, PUT, 256 clients: times etcd", over("unary-put-256", "etcd", "put-256"), 1, 1.5, false},
	{"gRPC, unary, GET, 256 clients: times etcd", over("unary-get-256", "etcd", "get-256"), 1, 1.5, false},
	{"PUT, 256 clients, 3 shards: share of 1", over("put-256", "lightning-1-shards", "put-256"), 0.9, 1, false},
	{"PUT, 256 clients, 8 shards: share of 1", ratio("lightning-8-shards", "put-256", "lightning-1-shards", "put-256"), 0.8, 0.95, false},
	{"PUT, 256 clients, 32 shards: share of 1", ratio("lightning-32-shards", "put-256", "lightning-1-shards", "put-256"), 0.6, 0.8, false},
	{"disk bytes per user byte, three replicas", diskShare, 8, 6.5, true},
}

func medianLatency(r *report) (float64, bool) {
	ours, ok := r.median(measured{"lightning", "put-1"})
	theirs, both := r.median(measured{"etcd", "put-1"})
	return float64(ours.p50) / float64(max(theirs.p50, 1)), ok && both
}

func diskShare(r *report) (float64, bool) {
	m, ok := r.median(measured{"lightning", "disk"})
	return float64(m.diskBytes) / r.userBytes(m), ok
}

func (r *report) printBars(w io.Writer) {
	fmt.Fprintln(w, "\n| bar | measured | bar | stretch | |")
	fmt.Fprintln(w, "|---|--:|--:|--:|---|")
	for _, b := range bars {
		got, ok := b.value(r)
		if !ok {
			continue
		}
		reached := func(limit float64) bool { return b.below && got <= limit || !b.below && got >= limit }
		verdict := "missed"
		if reached(b.stretch) {
			verdict = "stretch"
		} else if reached(b.bar) {
			verdict = "reached"
		}
		fmt.Fprintf(w, "| %s | %.2f | %g | %g | %s |\n", b.text, got, b.bar, b.stretch, verdict)
	}
}
