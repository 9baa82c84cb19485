package seeded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/report"
)

// limit is for one run of one test; a test that hangs with the bug is caught, too, but costs this much.
const limit = 150 * time.Second

// TestEveryBugIsCaughtByATestOfItsClaim runs every claim with its bug and without.
func TestEveryBugIsCaughtByATestOfItsClaim(t *testing.T) {
	programs := buildTests(t)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 2) // tests that wait for timeouts leave the processor to another
	lines := make([]string, len(seededbug.Claims))
	clean := sync.Map{} // package and test -> *sync.Once: several bugs may have one claim
	for i, c := range seededbug.Claims {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			once, _ := clean.LoadOrStore(c.Package+" "+c.Test, &sync.Once{})
			once.(*sync.Once).Do(func() { mustPass(t, programs[c.Package], c) })
			start := time.Now()
			mustFail(t, programs[c.Package], c)
			lines[i] = fmt.Sprintf("%-30s %-14s %s, in %.1f s", c.Bug, c.Package, c.Test, time.Since(start).Seconds())
		})
	}
	wg.Wait()
	if !t.Failed() {
		for _, line := range lines {
			report.Add("seeded bugs", "caught: %s", line)
		}
	}
}

// buildTests builds the tests of every package that has a claim.
func buildTests(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	programs := make(map[string]string)
	for _, c := range seededbug.Claims {
		if programs[c.Package] != "" {
			continue
		}
		program := filepath.Join(dir, strings.ReplaceAll(c.Package, "/", "-"))
		cmd := exec.Command("go", "test", "-c", "-tags", "seededbug", "-o", program, "./"+c.Package)
		cmd.Dir = cluster.Root()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build the tests of %s: %v\n%s", c.Package, err, out)
		}
		programs[c.Package] = program
	}
	return programs
}

func mustPass(t *testing.T, program string, c seededbug.Claim) {
	out, err := run(program, c, "")
	switch {
	case err != nil:
		t.Errorf("%s of %s fails without a bug: %v\n%s", c.Test, c.Package, err, tail(out))
	case !bytes.Contains(out, []byte("--- PASS: "+c.Test)):
		t.Errorf("%s of %s does not exist, or was skipped:\n%s", c.Test, c.Package, tail(out))
	}
}

func mustFail(t *testing.T, program string, c seededbug.Claim) {
	out, err := run(program, c, c.Bug)
	var ended *exec.ExitError
	switch {
	case err == nil:
		t.Errorf("%s of %s does not notice the bug %s", c.Test, c.Package, c.Bug)
	case !errors.As(err, &ended):
		t.Errorf("%s of %s with the bug %s: %v", c.Test, c.Package, c.Bug, err)
	}
	_ = out
}

// run runs one test of a package in the package's directory, as go test does.
func run(program string, c seededbug.Claim, bug seededbug.Bug) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-test.v", "-test.count=1", "-test.timeout="+limit.String(), "-test.run=^"+c.Test+"$")
	cmd.Dir = filepath.Join(cluster.Root(), c.Package)
	cmd.Env = append(os.Environ(), "LIGHTNING_SEEDED_BUG="+string(bug))
	return cmd.CombinedOutput()
}

func tail(out []byte) []byte { return out[max(0, len(out)-4000):] }

// bug is a constant of package seededbug with what its comment says.
type bug struct{ name, what string }

// bugs reads the constants.
func bugs(t *testing.T) (out []bug) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(cluster.Root(), "internal/seededbug/bugs.go"), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
			name, _ := strconv.Unquote(literal.Value)
			what := strings.Join(strings.Fields(strings.TrimPrefix(spec.Doc.Text(), spec.Names[0].Name+" ")), " ")
			out = append(out, bug{name, what})
		}
		return true
	})
	return out
}

// TestEveryBugHasAClaim is about a bug that was added without one: it proves nothing.
func TestEveryBugHasAClaim(t *testing.T) {
	all := bugs(t)
	for _, b := range all {
		if !slices.ContainsFunc(seededbug.Claims, func(c seededbug.Claim) bool { return string(c.Bug) == b.name }) {
			t.Errorf("%s has no claim", b.name)
		}
	}
	if len(all) < 12 {
		t.Errorf("%d bugs, want at least 12", len(all))
	}
}

// TestTheTableOfBugsIsCurrent compares the end of docs/testing.md with the bugs, or writes it.
func TestTheTableOfBugsIsCurrent(t *testing.T) {
	const head = "| bug | what it does | claim |\n|---|---|---|\n"
	path := filepath.Join(cluster.Root(), "docs/testing.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(string(text), head)
	if !found {
		t.Fatal("docs/testing.md has no table of bugs")
	}
	want := before + head
	for _, b := range bugs(t) {
		for _, c := range seededbug.Claims {
			if string(c.Bug) == b.name {
				want += fmt.Sprintf("| `%s` | %s | `%s`: `%s` |\n", b.name, b.what, c.Package, c.Test)
			}
		}
	}
	if want == string(text) {
		return
	}
	if os.Getenv("LIGHTNING_REWRITE") != "1" {
		t.Fatal("the table of bugs in docs/testing.md is not current; run this test with LIGHTNING_REWRITE=1")
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
