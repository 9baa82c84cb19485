package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// settings are the flags.
type settings struct {
	root       string
	builds     string
	systems    string
	workloads  string
	runs       int
	window     time.Duration
	warmUp     time.Duration
	keys       int
	valueBytes int
}

func main() {
	var s settings
	flag.StringVar(&s.root, "root", "..", "the checkout of Lightning DB")
	flag.StringVar(&s.builds, "builds", "", "further builds of lightning-node to compare, as name=path, separated by commas")
	flag.StringVar(&s.systems, "systems", "", "only these systems, separated by commas")
	flag.StringVar(&s.workloads, "workloads", "", "only these workloads, separated by commas")
	flag.IntVar(&s.runs, "runs", 3, "repetitions, of which the median counts")
	flag.DurationVar(&s.window, "window", 4*time.Second, "the measured part of a workload")
	flag.DurationVar(&s.warmUp, "warm-up", time.Second, "the part before it")
	flag.IntVar(&s.keys, "keys", 100_000, "keys, drawn uniformly")
	flag.IntVar(&s.valueBytes, "value-bytes", 256, "bytes of a value, random")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "bench/cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "bench-cluster-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	all, err := systems(s, filepath.Join(dir, "bin"))
	if err != nil {
		return err
	}
	var chosen []*system
	for _, sys := range all {
		if wanted(s.systems, sys.name) {
			chosen = append(chosen, sys)
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no system is called %q", s.systems)
	}
	r := newReport(s)
	for repetition := range s.runs {
		for _, sys := range chosen {
			if err := measureSystem(ctx, s, sys, filepath.Join(dir, fmt.Sprint(sys.name, repetition)), r); err != nil {
				return fmt.Errorf("%s: %w", sys.name, err)
			}
		}
	}
	r.print(os.Stdout)
	return nil
}

// wanted reports whether a name is in a list; an empty list has all.
func wanted(list, name string) bool {
	return list == "" || slices.Contains(strings.Split(list, ","), name)
}

func measureSystem(ctx context.Context, s settings, sys *system, dir string, r *report) error {
	var chosen []workload
	for _, w := range workloads {
		if sys.runs(w) && wanted(s.workloads, w.name) {
			chosen = append(chosen, w)
		}
	}
	if len(chosen) == 0 {
		return nil
	}
	defer func() { _ = os.RemoveAll(dir) }()
	running, err := sys.start(ctx, dir)
	if err != nil {
		return err
	}
	defer running.stop()
	if err := load(ctx, s, running); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	for _, w := range chosen {
		row, err := measure(ctx, s, running, w)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		r.add(sys.name, w, row)
	}
	return nil
}
