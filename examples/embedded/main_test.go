package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestWordsAreCountedFromOneRunToTheNext(t *testing.T) {
	dir := t.TempDir()
	for _, step := range []struct {
		words string
		want  string
	}{
		{"the cat saw the dog", "     2 the\n     1 cat\n"},
		{"cat cat", "     3 cat\n     2 the\n"},
		{"", "     3 cat\n     2 the\n"},
	} {
		var out strings.Builder
		if err := run(t.Context(), dir, 2, strings.Fields(step.words), &out); err != nil {
			t.Fatal(err)
		}
		if out.String() != step.want {
			t.Errorf("got\n%swant\n%s", out.String(), step.want)
		}
	}
}

// TestTheProgramIsSmall holds the stripped program to the 5 MB that an embedded store may take. Without -trimpath it is a little
// larger, and built of packages that are compiled already.
func TestTheProgramIsSmall(t *testing.T) {
	const limit = 5_000_000
	name := filepath.Join(t.TempDir(), "embedded")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w", "-o", name, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("embedded: %d bytes stripped, limit %d", info.Size(), limit)
	if info.Size() >= limit {
		t.Fatalf("the program has %d bytes, limit %d", info.Size(), limit)
	}
	deps, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, deps)
	}
	for dep := range strings.Lines(string(deps)) {
		for _, large := range []string{"net/http", "google.golang.org/", "github.com/hashicorp/", "github.com/lightning-db/lightning/api"} {
			if strings.HasPrefix(dep, large) {
				t.Errorf("the engine brings %s with it", strings.TrimSpace(dep))
			}
		}
	}
}
