package scenarios

import (
	"syscall"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
)

// stopLimit is ten times what a node takes that stops beside a frozen one: what waits for others gives up before.
const stopLimit = 90 * time.Second

// TestANodeStopsBesideAFrozenOne: a process that is stopped keeps its connections and answers nothing. What another
// node has forwarded to it, or leads together with it, does not keep that node from ending, in order.
func TestANodeStopsBesideAFrozenOne(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	l := startLoad(t, c, 8, 0, c.Nodes...)
	frozen, stopped := c.Nodes[1], c.Nodes[2]
	frozen.Pause()
	defer frozen.Resume()
	start := time.Now()
	stopped.Signal(syscall.SIGTERM)
	if code := stopped.WaitExit(stopLimit); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	say(t, "a node beside a frozen one ended within %v", time.Since(start).Round(time.Millisecond))
	frozen.Resume()
	stopped.Restart()
	mustServe(t, "after a node was frozen", c.Nodes)
	verify(t, stopped, l.stop())
}
