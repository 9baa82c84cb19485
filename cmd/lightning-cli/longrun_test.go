package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lightning-db/lightning/cmd/lightning-cli/bench"
	"github.com/lightning-db/lightning/internal/fakecluster"
)

func TestABrokenExportLeavesTheOldFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "all.jsonl")
	if err := os.WriteFile(name, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	err := writeWhole(name, func(w io.Writer) error {
		if _, err := io.WriteString(w, "half of it"); err != nil {
			t.Fatal(err)
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(name))
	if content, readErr := os.ReadFile(name); err != nil || readErr != nil || string(content) != "old" || len(entries) != 1 {
		t.Errorf("%v, %v, %q, %v", err, readErr, content, entries)
	}
	if err := writeWhole(name, func(w io.Writer) error { _, err := io.WriteString(w, "new"); return err }); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(name); err != nil || string(content) != "new" {
		t.Errorf("%v, %q", err, content)
	}
}

func TestAnExportReplacesFilesAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	file, link, device := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "device")
	if err := errors.Join(os.WriteFile(file, []byte("old"), 0o600), os.Symlink("file", link), os.Symlink(os.DevNull, device)); err != nil {
		t.Fatal(err)
	}
	content := func(w io.Writer) error { _, err := io.WriteString(w, "new"); return err }
	if err := errors.Join(writeWhole(link, content), writeWhole(device, content)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{link: "file", device: os.DevNull} {
		if got, err := os.Readlink(name); err != nil || got != want {
			t.Errorf("%s became %q, %v", name, got, err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "new" {
		t.Errorf("%q, %v", got, err)
	}
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Errorf("%v, %v", info, err)
	}
	if err := writeWhole(dir, content); exitCode(err) != exitUsage {
		t.Errorf("a folder: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestProgressIsALineNowAndThenOrOneThatIsDrawnAgain(t *testing.T) {
	for terminal, want := range map[bool]string{
		false: "1000 keys, 200/s, 2.0 KiB, 5s\n1000 keys, 0/s, 2.0 KiB, 10s\n",
		true:  "\r1000 keys, 4000/s, 2.0 KiB, 0s\x1b[K",
	} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			a := &app{environment: environment{stderr: &out, stderrTerminal: terminal}}
			p := a.startProgress("keys")
			p.count(1000, 2048)
			<-time.After(11 * time.Second) // of the bubble's clock
			p.end()
			if got := out.String(); !strings.HasPrefix(got, want) || terminal != strings.HasSuffix(got, "\r\x1b[K") {
				t.Errorf("terminal %v: got %q", terminal, got)
			}
		})
	}
}

func TestBenchPrintsFiguresAsTextAndJSON(t *testing.T) {
	s := &shell{cluster: fakecluster.New(1)}
	defer s.cluster.Close()
	args := []string{"bench", "--addr", "node-0:8379", "--count", "500", "--keys", "50", "--warm-up", "0s", "--clients", "4"}
	text := s.do(args...)
	for _, want := range []string{"is not on this machine", "throughput ", "(500)", "p99", "errors      none"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in %s", want, text)
		}
	}
	out := s.do(append(args, "-o", "json")...)
	_, object, _ := strings.Cut(out, "{")
	object, _, _ = strings.Cut("{"+object, "\n")
	var r bench.Report
	if err := json.Unmarshal([]byte(object), &r); err != nil || r.All.Operations != 500 || r.All.P99 < r.All.P50 || len(r.ByKind) != 2 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestOnlyThisMachineIsLoopback(t *testing.T) {
	for addresses, want := range map[string]bool{
		"127.0.0.1:1": true, "localhost:1,127.0.0.9:2": true, "[::1]:1": true, "127.0.0.1:1,10.0.0.1:1": false, "db:1": false, "x": false,
	} {
		if loopbackOnly(addresses) != want {
			t.Errorf("%s", addresses)
		}
	}
}

func TestASilentNodeIsShownAsSuch(t *testing.T) {
	s := &shell{cluster: fakecluster.New(3)}
	defer s.cluster.Close()
	s.cluster.Node(2).Stop()
	nodes := s.do("nodes", "--addr", "node-0:8379", "--timeout", "300ms")
	if !strings.Contains(nodes, "node-2  alive   SILENT") || strings.Count(nodes, "ready") != 2 {
		t.Errorf("got %s", nodes)
	}
	if shards := s.do("shards", "--addr", "node-0:8379", "--timeout", "300ms"); strings.Count(shards, "node-2   -  ") != 3 {
		t.Errorf("got %s", shards)
	}
}

func TestCompletionKnowsVerbsAndValues(t *testing.T) {
	s := &shell{}
	for _, name := range []string{"bash", "zsh", "fish", "powershell"} {
		if got := s.do("completion", name); !strings.Contains(got, "lightning-cli") || strings.Contains(got, "exit") && strings.HasSuffix(got, "exit 1\n") {
			t.Errorf("%s: %.200q", name, got)
		}
	}
	for line, want := range map[string]string{"ex": "export", "bench --workload ": "mixed", "get --output ": "json"} {
		words := append([]string{"__complete"}, strings.Split(line, " ")...)
		if got := s.do(words...); !strings.Contains(got, want) {
			t.Errorf("%s: %q", line, got)
		}
	}
}

func TestWhoWasAskedIsSaid(t *testing.T) {
	s := &shell{cluster: fakecluster.New(1)}
	s.cluster.Close()
	if got := s.do("get", "k", "--addr", "node-0:8379", "--timeout", "100ms"); !strings.Contains(got, "asked: node-0:8379 (--addr; gRPC ports, 8379 by default") {
		t.Errorf("got %q", got)
	}
}
