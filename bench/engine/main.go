package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// settings are the flags.
type settings struct {
	dir       string
	engines   string
	workloads string
	profiles  string
	runs      int
	quick     bool
	window    time.Duration
	durable   time.Duration
	limit     time.Duration
	scene     string
}

// scale is what all counts and budgets are divided by.
func (s settings) scale() int {
	if s.quick {
		return 20
	}
	return 1
}

func main() {
	var s settings
	flag.StringVar(&s.dir, "dir", os.TempDir(), "where the stores' directories are made; it should be on a real disk")
	flag.StringVar(&s.engines, "engines", "", "only these engines, separated by commas")
	flag.StringVar(&s.workloads, "workloads", "", "only these workloads, separated by commas")
	flag.StringVar(&s.profiles, "profiles", "", "write a CPU profile of each measured part into this directory")
	flag.IntVar(&s.runs, "runs", 5, "repetitions, of which the median counts")
	flag.BoolVar(&s.quick, "quick", false, "a smoke run: one repetition, a twentieth of the data, short windows")
	flag.DurationVar(&s.window, "window", time.Second, "reads go on for at least this long")
	flag.DurationVar(&s.durable, "durable", 3*time.Second, "how long durable writes go on")
	flag.DurationVar(&s.limit, "limit", 20*time.Second, "writes stop after this long")
	flag.StringVar(&s.scene, "scene", "", "used by the program itself: run this scene of one engine and print JSON")
	flag.Parse()
	if s.quick {
		s.shorten()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := runAll
	if s.scene != "" {
		run = runScene
	}
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "bench/engine:", err)
		os.Exit(1)
	}
}

// shorten makes a smoke run, but for what was said otherwise.
func (s *settings) shorten() {
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if !given["runs"] {
		s.runs = 1
	}
	for name, field := range map[string]*time.Duration{"window": &s.window, "durable": &s.durable, "limit": &s.limit} {
		if !given[name] {
			*field /= 10
		}
	}
}

// wanted reports whether a name is in a list; an empty list has all.
func wanted(list, name string) bool {
	return list == "" || slices.Contains(strings.Split(list, ","), name)
}

// runAll has each child run and prints the report.
func runAll(ctx context.Context, s settings) error {
	if err := checkNames(s); err != nil {
		return err
	}
	r := newReport(s)
	for repetition := range s.runs {
		for _, sc := range scenes {
			for _, e := range engines {
				if !wanted(s.engines, e.name) {
					continue
				}
				if err := measureChild(ctx, s, sc, e, r); err != nil {
					return fmt.Errorf("repetition %d, %s, %s: %w", repetition+1, sc.name, e.name, err)
				}
			}
		}
	}
	r.print(os.Stdout)
	return r.disagreement()
}

func checkNames(s settings) error {
	for name := range strings.SplitSeq(s.engines, ",") {
		if name != "" && engineNamed(name) == nil {
			return fmt.Errorf("no engine is called %q", name)
		}
	}
	for name := range strings.SplitSeq(s.workloads, ",") {
		if name != "" && name != cacheHits && !slices.ContainsFunc(scenes, func(sc scene) bool { return slices.Contains(sc.workloads, name) }) {
			return fmt.Errorf("no workload is called %q", name)
		}
	}
	return nil
}
