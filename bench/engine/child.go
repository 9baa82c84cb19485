package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"syscall"
)

// measureChild runs a scene of an engine in a process and a directory of its own.
func measureChild(ctx context.Context, s settings, sc scene, e *engine, r *report) error {
	runs := false
	for _, w := range sc.workloads {
		if !wanted(s.workloads, w) {
			continue
		}
		if reason := e.cannot(w); reason != "" {
			r.dash(w, e.name, reason)
		} else if e.takesPart(w) {
			runs = true
		}
	}
	if !runs {
		return nil
	}
	dir, err := os.MkdirTemp(s.dir, "bench-engine-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program, err := os.Executable()
	if err != nil {
		return err
	}
	// What other stores have written would otherwise reach the disk while this one is measured.
	syscall.Sync()
	cmd := exec.CommandContext(ctx, program, "-scene", sc.name, "-engines", e.name, "-dir", dir,
		"-workloads", s.workloads, "-profiles", s.profiles, fmt.Sprintf("-quick=%v", s.quick),
		"-window", s.window.String(), "-durable", s.durable.String(), "-limit", s.limit.String())
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	readErr := readRows(out, r)
	return errors.Join(readErr, cmd.Wait())
}

func readRows(from io.Reader, r *report) error {
	in := json.NewDecoder(from)
	for {
		var got row
		switch err := in.Decode(&got); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		r.add(got)
	}
}

// child is what runs one scene of one engine.
type child struct {
	settings settings
	engine   *engine
	out      *json.Encoder
	baseline int64 // anonymous memory before the store was opened
}

func runScene(_ context.Context, s settings) error {
	c := &child{settings: s, engine: engineNamed(s.engines), out: json.NewEncoder(os.Stdout)}
	for _, sc := range scenes {
		if sc.name == s.scene && c.engine != nil {
			return sc.run(c)
		}
	}
	return fmt.Errorf("no scene %q of an engine %q", s.scene, s.engines)
}

// wants reports whether a workload is to be measured.
func (c *child) wants(workload string) bool {
	return wanted(c.settings.workloads, workload) && c.engine.takesPart(workload) && c.engine.cannot(workload) == ""
}

func (c *child) emit(workload string, got row) error {
	got.Workload, got.Engine = workload, c.engine.name
	return c.out.Encode(got)
}

// open opens the store in the child's directory.
func (c *child) open(cfg config) (store, error) {
	cfg.log = c.engine.log
	// What making the data left behind is neither the store's memory nor its garbage to collect.
	debug.FreeOSMemory()
	c.baseline = anonymousBytes()
	st, err := c.engine.open(filepath.Join(c.settings.dir, "store"), cfg)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	return st, nil
}

// profiled runs f with a CPU profile if one is wanted.
func (c *child) profiled(workload string, f func() (row, error)) (row, error) {
	if c.settings.profiles == "" {
		return f()
	}
	file, err := os.Create(filepath.Join(c.settings.profiles, c.engine.name+"-"+workload+".pprof"))
	if err != nil {
		return row{}, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return row{}, err
	}
	got, err := f()
	pprof.StopCPUProfile()
	return got, errors.Join(err, file.Close())
}
