package cluster

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Root is the directory of the module under test.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

var builds sync.Map // output path -> *build

type build struct {
	once sync.Once
	err  error
}

// Binary builds ./cmd/<name> of the module under test with the given build tags and returns the
// path of the program. LIGHTNING_TEST_RACE=1 builds it with the race detector.
func Binary(t testing.TB, name string, tags ...string) string {
	t.Helper()
	return Build(t, Root(), "./cmd/"+name, tags...)
}

// Future builds lightning-node as a build that knows one more cluster version.
func Future(t testing.TB) string {
	t.Helper()
	const flag = "-X github.com/lightning-db/lightning/internal/build.clusterVersion=2"
	return buildVariant(t, Root(), "./cmd/lightning-node", "-future", []string{"-ldflags", flag})
}

// Build builds one main package within module directory dir.
func Build(t testing.TB, dir, pkg string, tags ...string) string {
	t.Helper()
	return buildVariant(t, dir, pkg, strings.Join(tags, "-"), []string{"-tags", strings.Join(tags, ",")})
}

func buildVariant(t testing.TB, dir, pkg, variant string, flags []string) string {
	t.Helper()
	args := append([]string{"build"}, flags...)
	if os.Getenv("LIGHTNING_TEST_RACE") == "1" {
		args, variant = append(args, "-race"), variant+"-race"
	}
	// A fixed place per checkout, so that go build skips the link when nothing changed.
	sum := sha256.Sum256([]byte(dir))
	out := filepath.Join(os.TempDir(), fmt.Sprintf("lightning-tests-%d-%x", os.Getuid(), sum[:4]), filepath.Base(pkg)+variant)
	entry, _ := builds.LoadOrStore(out, &build{})
	b := entry.(*build)
	b.once.Do(func() {
		cmd := exec.Command("go", append(args, "-o", out, pkg)...)
		cmd.Dir = dir
		if text, err := cmd.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("build %s: %w\n%s", pkg, err, text)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return out
}
