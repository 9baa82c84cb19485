package scenarios

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
)

// TestKnownNameWithEmptyDirectoryIsRefused takes a node's disk away: it must not vote as if it had never
// voted, so it ends and says how to replace it, while the others serve on.
func TestKnownNameWithEmptyDirectoryIsRefused(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	l := startLoad(t, c, 4, 0, c.Nodes...)
	lost := c.Nodes[1]
	before := lost.MustStatus()
	lost.Kill()
	if err := os.RemoveAll(lost.Dir); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	lost.Run()
	code := lost.WaitExit(recovery)
	text := lastLife(lost)
	say(t, "exit code %d after %v: %s", code, time.Since(start).Round(time.Millisecond), lastLine(text))
	if code != 5 {
		t.Errorf("exit code %d, want 5:\n%s", code, text)
	}
	for _, want := range []string{"replace", lost.Name} {
		if !strings.Contains(text, want) {
			t.Errorf("the message does not contain %q:\n%s", want, text)
		}
	}
	mustServe(t, "without the lost one", c.Others(lost))
	acked := l.stop()
	verify(t, c.Nodes[0], acked)
	after := c.Nodes[0].MustStatus()
	for _, n := range after.GetMap().GetNodes() {
		if n.Name == lost.Name && n.Id != before.NodeId {
			t.Errorf("the map gave the name %s to the stranger %s", n.Name, n.Id)
		}
	}
	if got, want := len(after.GetMap().GetNodes()), 3; got != want {
		t.Errorf("%d nodes in the map, want %d", got, want)
	}
}

// lastLife is what a node printed since it was started last.
func lastLife(n *cluster.Node) string {
	text := n.LogTail(100_000)
	if i := strings.LastIndex(text, "\n--- "); i >= 0 {
		text = text[i+1:]
	}
	return text
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
