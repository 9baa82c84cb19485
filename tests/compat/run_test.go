package compat

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
)

// limit is how long a program may take; each takes a second or two.
const limit = time.Minute

// say prints a result at once, also when the test passes: these lines are the evidence of a run.
func say(t *testing.T, format string, args ...any) {
	fmt.Fprintf(os.Stdout, "    %s: %s\n", t.Name(), fmt.Sprintf(format, args...))
}

// program is something to run. Dir is relative to the repository.
type program struct {
	dir  string
	env  []string
	args []string
	in   string
}

// run fails the test unless the program ends with code 0 in time, and returns what it printed.
func run(t *testing.T, p program) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	cmd.Dir = filepath.Join(cluster.Root(), p.dir)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdin = strings.NewReader(p.in)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s (in %s): %v\n%s", strings.Join(p.args, " "), p.dir, err, out)
	}
	return strings.TrimSpace(string(out))
}

// python3 is Debian's, whose packages have redis-py.
const python3 = "/usr/bin/python3"

// nodeFolder checks that what a folder's lock file names is installed, and returns the folder.
func nodeFolder(t *testing.T, dir string) string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(cluster.Root(), dir, "node_modules")); err != nil {
		t.Fatalf("the packages of Node.js are not installed: run \"npm ci --ignore-scripts\" in %s (.ci/run does)", dir)
	}
	return dir
}

// compileC builds a program that uses hiredis.
func compileC(t *testing.T, source string) string {
	t.Helper()
	flags := run(t, program{args: []string{"pkg-config", "--cflags", "--libs", "hiredis"}})
	out := filepath.Join(t.TempDir(), "program")
	args := append([]string{"gcc", "-Wall", "-Wextra", "-Werror", "-o", out, source}, strings.Fields(flags)...)
	run(t, program{args: args})
	return out
}

func split(t *testing.T, address string) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}

func equal[T comparable](t *testing.T, what string, want T) func(got T, err error) {
	return func(got T, err error) {
		t.Helper()
		if got != want || err != nil {
			t.Errorf("%s: %v, %v; want %v", what, got, err, want)
		}
	}
}
