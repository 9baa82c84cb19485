package scenarios

import (
	"context"
	"flag"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
)

var source = flag.String("scenarios.source", "", "directory below GOROOT/src that is loaded; empty is all of it")

// TestGoSourceIsLoadedByRedisAndReadBackByGRPC runs the example that loads every regular file of the Go source
// through one node and reads it back from another, which fails by itself if anything differs.
func TestGoSourceIsLoadedByRedisAndReadBackByGRPC(t *testing.T) {
	loadtree := cluster.Build(t, filepath.Join(cluster.Root(), "examples", "loadtree"), ".")
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	c := cluster.Start(t, cluster.Options{Args: cluster.Patient})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, loadtree, "-resp", c.Nodes[0].RESP, "-grpc", c.Nodes[1].GRPC,
		"-dir", filepath.Join(strings.TrimSpace(string(root)), "src", *source), "-prefix", map[bool]string{true: "net/http/"}[*source == ""])
	start := time.Now()
	out, err := cmd.CombinedOutput()
	say(t, "%v after %v:\n%s", err, time.Since(start).Round(time.Millisecond), out)
	if err != nil {
		t.Fail()
	}
	for _, n := range c.Nodes {
		say(t, "%s holds %d MiB", n.Name, residentMiB(t, n))
	}
}
