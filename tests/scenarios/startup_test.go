package scenarios

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
)

// expectExit starts a node that must end by itself, with code, after printing all of words.
func expectExit(t *testing.T, n *cluster.Node, code int, words []string, extra ...string) {
	t.Helper()
	start := time.Now()
	n.Run(extra...)
	got := n.WaitExit(recovery)
	text := lastLife(n)
	say(t, "exit code %d after %v: %s", got, time.Since(start).Round(time.Millisecond), lastLine(text))
	if got != code {
		t.Errorf("exit code %d, want %d:\n%s", got, code, text)
	}
	output := text[strings.Index(text, "\n")+1:] // without the command line
	for _, w := range words {
		if !strings.Contains(output, w) {
			t.Errorf("the message does not contain %q:\n%s", w, output)
		}
	}
	if strings.Contains(output, "goroutine ") {
		t.Errorf("it panicked:\n%s", output)
	}
}

func oneNode(t *testing.T, o cluster.Options) *cluster.Node {
	t.Helper()
	o.Nodes, o.Alone, o.Unstarted = 1, true, true
	return cluster.Start(t, o).Nodes[0]
}

func TestWrongSettingsEndWithCodeTwo(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags []string
		words []string
	}{
		{"unknown flag", []string{"--no-such-flag"}, []string{"no-such-flag"}},
		{"port that is no number", []string{"--resp-port", "abc"}, []string{"resp-port", "abc"}},
		{"port out of range", []string{"--grpc-port", "70000"}, []string{"grpc-port"}},
		{"open to the world without saying so", []string{"--host", "0.0.0.0"}, []string{"--insecure"}},
		{"stray argument", []string{"stray"}, []string{"stray"}},
		{"too many shards", []string{"--shards", "100000"}, []string{"shards"}},
		{"bootstrap without peers", []string{"--bootstrap-expect", "3"}, []string{"--join"}},
		{"missing configuration file", []string{"--config", "/no/such/file.yaml"}, []string{"/no/such/file.yaml"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := oneNode(t, cluster.Options{})
			expectExit(t, n, 2, c.words, c.flags...)
			if _, err := os.Stat(n.Dir); !os.IsNotExist(err) {
				t.Errorf("the data directory was made: %v", err)
			}
		})
	}
}

func TestUnusableDataDirectoriesEndWithCodeThree(t *testing.T) {
	t.Run("a file is in its place", func(t *testing.T) {
		n := oneNode(t, cluster.Options{})
		if err := os.WriteFile(n.Dir, []byte("file"), 0o600); err != nil {
			t.Fatal(err)
		}
		expectExit(t, n, 3, []string{n.Dir})
	})
	t.Run("not ours", func(t *testing.T) {
		n := oneNode(t, cluster.Options{})
		mine := filepath.Join(n.Dir, "thesis.txt")
		if err := os.MkdirAll(n.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(mine, []byte("work of years"), 0o600); err != nil {
			t.Fatal(err)
		}
		expectExit(t, n, 3, []string{n.Dir})
		if b, err := os.ReadFile(mine); string(b) != "work of years" {
			t.Errorf("a foreign file was touched: %v", err)
		}
	})
	t.Run("in use", func(t *testing.T) {
		c := cluster.Start(t, cluster.Options{Nodes: 1, Alone: true})
		first := c.Nodes[0]
		second := oneNode(t, cluster.Options{Dir: func(int) string { return first.Dir }})
		expectExit(t, second, 3, []string{first.Dir, "in use"})
		mustServe(t, "after a second start on its directory", c.Nodes)
	})
	t.Run("read-only file system", func(t *testing.T) {
		dir := cluster.MountTmpfs(t, "8m")
		if out, err := exec.Command("mount", "-o", "remount,ro", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		n := oneNode(t, cluster.Options{Dir: func(int) string { return dir + "/node" }, LogDir: t.TempDir()})
		expectExit(t, n, 3, []string{"read-only"})
	})
}

func TestPortInUseEndsWithCodeFourAndNamesIt(t *testing.T) {
	for _, c := range []struct {
		flag    string
		address func(n *cluster.Node) string
	}{
		{"--resp-port", func(n *cluster.Node) string { return n.RESP }},
		{"--resp-cluster-port", func(n *cluster.Node) string { return n.RESPCluster }},
		{"--grpc-port", func(n *cluster.Node) string { return n.GRPC }},
		{"--http-port", func(n *cluster.Node) string { return n.HTTP }},
		{"--gossip-port", func(n *cluster.Node) string { return n.Addr }},
	} {
		t.Run(c.flag, func(t *testing.T) {
			n := oneNode(t, cluster.Options{})
			listener, err := net.Listen("tcp", c.address(n))
			if err != nil {
				t.Fatal(err)
			}
			expectExit(t, n, 4, []string{c.address(n), c.flag})
			_ = listener.Close()
			n.Run() // nothing must be left that keeps it from starting now
			n.WaitReady(recovery)
		})
	}
}
