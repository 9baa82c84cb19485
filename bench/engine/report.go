package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// report gathers the rows of all repetitions.
type report struct {
	settings settings
	rows     map[measured][]row
	dashes   map[measured]string

	measuredHits *hits
}

type measured struct{ workload, engine string }

func newReport(s settings) *report {
	return &report{settings: s, rows: map[measured][]row{}, dashes: map[measured]string{}}
}

func (r *report) add(got row) {
	key := measured{got.Workload, got.Engine}
	r.rows[key] = append(r.rows[key], got)
	fmt.Fprintf(os.Stderr, "%-12s %-17s %11.0f/s  %8.0f ns CPU  p50 %9v  p99 %9v\n", got.Workload, got.Engine, got.perSecond(), got.cpuNanos(), got.P50, got.P99)
}

// dash notes why an engine cannot do a workload.
func (r *report) dash(workload, engine, reason string) { r.dashes[measured{workload, engine}] = reason }

// median is the run with the median rate.
func (r *report) median(workload, engine string) (row, bool) {
	runs := slices.Clone(r.rows[measured{workload, engine}])
	if len(runs) == 0 {
		return row{}, false
	}
	slices.SortFunc(runs, func(a, b row) int { return cmp.Compare(a.perSecond(), b.perSecond()) })
	return runs[len(runs)/2], true
}

// disagreement is an error if two engines have read different things in the same workload.
func (r *report) disagreement() error {
	var errs []error
	for _, sc := range scenes {
		for _, workload := range sc.workloads {
			sums := map[uint64]string{}
			for key, runs := range r.rows {
				for _, run := range runs {
					if key.workload == workload && workload != "mixed" {
						sums[run.Sum] = key.engine
					}
				}
			}
			if len(sums) > 1 {
				errs = append(errs, fmt.Errorf("%s: what was read differs between engines: %v", workload, sums))
			}
		}
	}
	return errors.Join(errs...)
}

func (r *report) print(w io.Writer) {
	r.printHeader(w)
	fmt.Fprintln(w, "| workload | engine | operations/s | min-max | ratio to the best of Pebble, Badger, bbolt | CPU ns/op | p50 | p99 | p99.9 | allocations/op | further |")
	fmt.Fprintln(w, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|")
	for _, sc := range scenes {
		for _, workload := range sc.workloads {
			for _, e := range engines {
				r.printRow(w, workload, e)
			}
		}
	}
	r.printBars(w)
}

func (r *report) printRow(w io.Writer, workload string, e *engine) {
	key := measured{workload, e.name}
	if reason, ok := r.dashes[key]; ok {
		fmt.Fprintf(w, "| %s | %s | – | | | | | | | | %s |\n", workload, e.name, reason)
	}
	m, ok := r.median(workload, e.name)
	if !ok {
		return
	}
	low, high := m.perSecond(), m.perSecond()
	for _, run := range r.rows[key] {
		low, high = min(low, run.perSecond()), max(high, run.perSecond())
	}
	ratio := "–"
	if best, ok := r.best(workload, e.log || e.inPlace, peers); ok {
		ratio = fmt.Sprintf("%.2f", m.perSecond()/best.perSecond())
	}
	fmt.Fprintf(w, "| %s | %s | %.0f | %.0f-%.0f | %s | %.0f | %v | %v | %v | %.1f | %s |\n", workload, e.name, m.perSecond(), low, high, ratio,
		m.cpuNanos(), short(m.P50), short(m.P99), short(m.P999), m.Allocations, m.further())
}

// further are the figures that few workloads have.
func (r row) further() string {
	var parts []string
	if r.Amplification > 0 {
		parts = append(parts, fmt.Sprintf("%.2f bytes written per byte", r.Amplification))
	}
	if r.Space > 0 {
		parts = append(parts, fmt.Sprintf("%.2f bytes of files per byte", r.Space))
	}
	if r.Resident > 0 {
		parts = append(parts, fmt.Sprintf("%.0f resident bytes per key", r.Resident))
	}
	if r.Cut {
		parts = append(parts, fmt.Sprintf("cut after %d", r.Ops))
	}
	return strings.Join(parts, ", ")
}

// short has three digits or so.
func short(d time.Duration) any {
	if d == 0 {
		return "–"
	}
	for unit := time.Nanosecond; ; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit)
		}
	}
}

func (r *report) printHeader(w io.Writer) {
	commit, _ := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	fmt.Fprintf(w, "Commit %s, %s, %s/%s, %d cores; the clock's own %v are taken off latencies.\n", strings.TrimSpace(string(commit)),
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), clockCost())
	scale := r.settings.scale()
	fmt.Fprintf(w, "Keys of 16 bytes, values half random and half one repeated byte. %d keys with values of 100 bytes, kib: %d of 1 KiB, big: %d of 1 KiB, churn: %d of 100 bytes. "+
		"%d workers, but one for load, apply, get-hot and scan-full. Median of %d; reads at least %v, durable writes %v, other writes at most %v.\n",
		mainKeys/scale, kibKeys/scale, bigKeys/scale, churnKeys/scale, workers, r.settings.runs, r.settings.window, r.settings.durable, r.settings.limit)
	if scale > 1 {
		fmt.Fprintf(w, "**A smoke run: data, memtables and caches are divided by %d; these figures are for nothing but seeing that it runs.**\n", scale)
	}
	fmt.Fprintln(w)
	versions := moduleVersions()
	for _, e := range engines {
		if r.mentions(e.name) {
			fmt.Fprintf(w, "* **%s** %s: %s.\n", e.name, versions[e.module], e.settings)
		}
	}
	fmt.Fprintln(w)
}

func (r *report) mentions(engine string) bool {
	for key := range r.rows {
		if key.engine == engine {
			return true
		}
	}
	return false
}

// moduleVersions are those that this program was built with.
func moduleVersions() map[string]string {
	versions := map[string]string{"": "of this checkout"}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			versions[m.Path] = m.Version
		}
	}
	return versions
}
