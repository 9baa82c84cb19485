package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	seed := flag.Uint64("seed", 1, "seed of the plan")
	runs := flag.Int("runs", 4, "how often to run it")
	only := flag.String("only", "", "the one kind of fault, as for -sim.only")
	flag.Parse()
	if err := replay(*seed, *runs, *only); err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(1)
	}
}

var traceLine = regexp.MustCompile(`trace [0-9a-f]{16}`)

// replay builds the simulation against a runtime without chance, and runs one seed again and again.
func replay(seed uint64, runs int, only string) error {
	dir, err := os.MkdirTemp("", "sim-replay-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	overlay, err := writeOverlay(strings.TrimSpace(string(goroot)), dir)
	if err != nil {
		return err
	}
	program := filepath.Join(dir, "sim.test")
	build := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", program, "./sim")
	build.Env = append(os.Environ(), "GOEXPERIMENT=norandomizedheapbase64")
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build ./sim, from the directory tests: %w", err)
	}
	seen := map[string]int{}
	for i := range runs {
		out, problem := run(program, seed, only)
		trace := traceLine.FindString(out)
		seen[trace]++
		verdict := "passed"
		if problem != nil {
			verdict = "FAILED"
		}
		fmt.Printf("run %d: %s, %s\n", i+1, trace, verdict)
		if problem != nil {
			fmt.Println(out)
		}
	}
	fmt.Printf("seed %d: %d runs, %d different traces\n", seed, runs, len(seen))
	return nil
}

func run(program string, seed uint64, only string) (string, error) {
	// On one core the program's own threads never run side by side.
	cmd := exec.Command("taskset", "-c", "0", program, "-test.run=^TestHistoriesUnderFaultsAreCorrect$", "-test.v", "-test.parallel=1", "-sim.replay", "-sim.histories=1",
		fmt.Sprint("-sim.seed=", seed), "-sim.only="+only)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1,randseednop=0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
