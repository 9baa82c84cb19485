package main

import (
	"fmt"
	"io"
	"slices"
)

// peers are the kinds that most bars are about. LMDB, which is C, has bars of its own.
var peers = []string{"pebble", "badger", "bbolt"}

// best is the fastest row of some kinds in a workload; stores that have a log with it, or all without one.
func (r *report) best(workload string, log bool, kinds []string) (best row, ok bool) {
	for _, e := range engines {
		if !slices.Contains(kinds, e.kind) || e.kind == "pebble" && e.log != log {
			continue
		}
		if m, has := r.median(workload, e.name); has && (!ok || m.perSecond() > best.perSecond()) {
			best, ok = m, true
		}
	}
	return best, ok
}

// bar is what the design wants of one figure.
type bar struct {
	text         string
	value        func(r *report) (measurement, bool)
	bar, stretch float64
	below        bool // smaller is better
}

// measurement is what a bar is held against; cpu is the peer's CPU time for an operation over ours, which
// neighbours on the machine disturb less than rates, where it is a ratio of two rows.
type measurement struct{ value, cpu float64 }

// over compares our rate with the best of some kinds.
func over(workload string, kinds ...string) func(*report) (measurement, bool) {
	return beside("lightning", true, workload, kinds...)
}

// withoutLog does that between stores without a log.
func withoutLog(workload string, kinds ...string) func(*report) (measurement, bool) {
	return beside("lightning-no-log", false, workload, kinds...)
}

func beside(ours string, log bool, workload string, kinds ...string) func(*report) (measurement, bool) {
	return func(r *report) (measurement, bool) {
		m, ok := r.median(workload, ours)
		best, both := r.best(workload, log, kinds)
		if !ok || !both {
			return measurement{}, false
		}
		return measurement{m.perSecond() / best.perSecond(), best.cpuNanos() / m.cpuNanos()}, true
	}
}

// ours is a figure that is compared with a number.
func ours(engine, workload string, figure func(m row) float64) func(*report) (measurement, bool) {
	return func(r *report) (measurement, bool) {
		m, ok := r.median(workload, engine)
		return measurement{value: figure(m)}, ok && figure(m) != 0
	}
}

func amplification(m row) float64 { return m.Amplification }
func space(m row) float64         { return m.Space }
func resident(m row) float64      { return m.Resident }
func medianNanos(m row) float64   { return float64(m.P50.Nanoseconds()) }

var bars = []bar{
	{"sorted bulk load, batch 1000: times Pebble", over("load", "pebble"), 1.2, 1.5, false},
	{"the same without logs", withoutLog("load", "pebble"), 1.2, 1.5, false},
	{"random put, no sync: times the best", over("put", peers...), 2.5, 3, false},
	{"the same without logs: times Pebble", withoutLog("put", "pebble"), 2.5, 3, false},
	{"the same with LogInterval, synced every 100 ms: times Pebble, which keeps unsynced writes in the process, too", beside("lightning-interval", true, "put", "pebble"), 2.5, 3, false},
	{"the same with LogNever: times the better of Badger and bbolt, whose unsynced writes the system has, too", over("put", "badger", "bbolt"), 2.5, 3, false},
	{"random put, batches of 100, no sync: times the best", over("batch-100", peers...), 2, 2.5, false},
	{"the same without logs: times Pebble", withoutLog("batch-100", "pebble"), 2, 2.5, false},
	{"durable put, 1 writer: times the best", over("durable-1", peers...), 1.4, 1.6, false},
	{"durable put, 16 writers: times the best", over("durable-16", peers...), 1.4, 1.6, false},
	{"durable put, 64 writers: times the best", over("durable-64", peers...), 1.4, 1.6, false},
	{"get, uniform: times Pebble", over("get-uniform", "pebble"), 4, 5, false},
	{"get, uniform: times LMDB", over("get-uniform", "lmdb"), 1, 1, false},
	{"get, Zipf 0.99: times Pebble", over("get-zipf", "pebble"), 5, 7, false},
	{"get, Zipf 0.99: times LMDB", over("get-zipf", "lmdb"), 1, 1, false},
	{"get, 10,000 hot keys, 1 worker: times Pebble", over("get-hot", "pebble"), 15, 15, false},
	{"get, 10,000 hot keys, 1 worker: P50, ns", ours("lightning", "get-hot", medianNanos), 100, 50, true},
	{"get, absent keys: times Pebble", over("get-absent", "pebble"), 7, 10, false},
	{"scan of 100: times Pebble", over("scan-100", "pebble"), 2, 2, false},
	{"scan of 100: times bbolt", over("scan-100", "bbolt"), 1, 1.3, false},
	{"full scan, rows: times Pebble", over("scan-full", "pebble"), 1.7, 1.7, false},
	{"full scan, rows: times bbolt", over("scan-full", "bbolt"), 0, 1, false},
	{"80/20 read / read-modify-write: times Pebble, which has no isolation", over("mixed", "pebble"), 2.7, 3.5, false},
	{"1.5 GB of 1 KiB values, 64 MiB cache: times Pebble", over("big-get", "pebble"), 2.5, 2.5, false},
	{"overwrite churn: times Pebble", over("churn", "pebble"), 1.8, 2, false},
	{"the same without logs", withoutLog("churn", "pebble"), 1.8, 2, false},
	{"overwrite churn: bytes written per byte, with log", ours("lightning", "churn", amplification), 2, 1.7, true},
	{"overwrite churn: bytes written per byte, without log", ours("lightning-no-log", "churn", amplification), 0.8, 0.6, true},
	{"1 KiB values, put: times Pebble", over("kib-put", "pebble"), 2, 3, false},
	{"the same without logs", withoutLog("kib-put", "pebble"), 2, 3, false},
	{"the same with LogInterval", beside("lightning-interval", true, "kib-put", "pebble"), 2, 3, false},
	{"1 KiB values, get: times Pebble", over("kib-get", "pebble"), 2, 3, false},
	{"1 KiB values, scan of 100: times Pebble", over("kib-scan", "pebble"), 2, 3, false},
	{"apply of committed entries: times Pebble with DisableWAL", withoutLog("apply", "pebble"), 2.5, 4, false},
	{"bytes of files per byte after load", ours("lightning", "load", space), 0.55, 0.45, true},
	{"hits of the block cache, Zipf 0.99, a tenth of the data: points below Belady's optimum", points(func(h hits) float64 { return h.optimum - h.blocks }), 3, 3, true},
	{"the same: points below what knowing each key's popularity gives", points(func(h hits) float64 { return h.known - h.blocks }), 3, 3, true},
	{"the same: points above the better of ARC and LRU", points(func(h hits) float64 { return h.blocks - max(h.arc, h.lru) }), 0.01, 0.01, false},
	{"hits of the row cache in the bytes of a tenth of the rows: points above the better of ARC and LRU", points(func(h hits) float64 { return h.rows - max(h.arc, h.lru) }), 0.01, 0.01, false},
	{"resident bytes per key, everything cached", ours("lightning", "get-uniform", resident), 164, 130, true},
}

func (r *report) printBars(w io.Writer) {
	fmt.Fprintln(w, "\n| bar | measured | bar | stretch | | their CPU time over ours |")
	fmt.Fprintln(w, "|---|--:|--:|--:|---|--:|")
	for _, b := range bars {
		got, ok := b.value(r)
		if !ok {
			fmt.Fprintf(w, "| %s | – | %g | %g | | |\n", b.text, b.bar, b.stretch)
			continue
		}
		reached := func(limit float64) bool { return b.below && got.value <= limit || !b.below && got.value >= limit }
		// Where there is no bar, only the stretch can be reached.
		verdict := "missed"
		if reached(b.stretch) {
			verdict = "stretch"
		} else if b.bar > 0 && reached(b.bar) {
			verdict = "reached"
		}
		cpu := ""
		if got.cpu > 0 {
			cpu = fmt.Sprintf("%.2f", got.cpu)
		}
		fmt.Fprintf(w, "| %s | %.2f | %g | %g | %s | %s |\n", b.text, got.value, b.bar, b.stretch, verdict, cpu)
	}
}
