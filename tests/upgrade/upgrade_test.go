package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/tests/cluster"
)

// counter adds to a key, over and over.
type counter struct {
	key      []byte
	answered atomic.Int64
	unknown  int64
}

func (c *counter) run(ctx context.Context, sdk *client.Client) {
	for ctx.Err() == nil {
		switch _, err := sdk.Increment(context.Background(), 0, c.key, 1); {
		case err == nil:
			c.answered.Add(1)
		case errors.Is(err, api.ErrUnknownOutcome):
			c.unknown++
		}
	}
}

// check is invariant UR1.
func (c *counter) check(t *testing.T, sdk *client.Client) {
	t.Helper()
	value, err := sdk.Increment(t.Context(), 0, c.key, 0)
	if answered := c.answered.Load(); err != nil || value < answered || value > answered+c.unknown {
		t.Errorf("%s is %d (%v), %d increments were answered and %d are unknown", c.key, value, err, answered, c.unknown)
	}
}

func cli(t *testing.T, c *cluster.Cluster, args ...string) (string, int) {
	t.Helper()
	args = append([]string{"--addr", c.Nodes[0].GRPC + "," + c.Nodes[1].GRPC, "--timeout", "20s"}, args...)
	cmd := exec.CommandContext(t.Context(), cluster.Binary(t, "lightning-cli"), args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// change restarts nodes with another build, one after the other.
func change(t *testing.T, build string, nodes ...*cluster.Node) {
	t.Helper()
	for _, n := range nodes {
		n.Stop()
		n.Install(build)
		n.Restart()
	}
}

// refuse expects that the version cannot be raised.
func refuse(t *testing.T, c *cluster.Cluster, version, why string) {
	t.Helper()
	cluster.Eventually(t, time.Minute, "a refusal", func() error { // a master that has just changed is not known everywhere
		if out, code := cli(t, c, "cluster", "raise-version", version); code != 2 || !strings.Contains(out, why) {
			return fmt.Errorf("raised to version %s: exit code %d: %s", version, code, out)
		}
		return nil
	})
}

// progress waits until each counter is written, so that what the nodes write now is in the logs of all shards.
func progress(t *testing.T, list []*counter) {
	t.Helper()
	before := make([]int64, len(list))
	for i, c := range list {
		before[i] = c.answered.Load()
	}
	cluster.Eventually(t, 2*time.Minute, "increments", func() error {
		for i, c := range list {
			if c.answered.Load() < before[i]+3 {
				return fmt.Errorf("%s was incremented %d times", c.key, c.answered.Load()-before[i])
			}
		}
		return nil
	})
}

func TestNodesAreUpgradedOneByOneAndGoBackUntilTheVersionIsRaised(t *testing.T) {
	today, future := cluster.Binary(t, "lightning-node"), cluster.Future(t)
	c := cluster.Start(t, cluster.Options{})
	o := client.Options{DefaultTimeout: 30 * time.Second}
	for _, n := range c.Nodes {
		o.Addresses = append(o.Addresses, n.GRPC)
	}
	sdk, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sdk.Close() }()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writing sync.WaitGroup
	list := make([]*counter, 12) // enough for each shard to have some
	for i := range list {
		list[i] = &counter{key: fmt.Appendf(nil, "counter-%d", i)}
		writing.Go(func() { list[i].run(ctx, sdk) })
	}
	began := time.Now()
	change(t, future, c.Nodes[2])
	progress(t, list)
	refuse(t, c, "2", "[node-0 node-1]")
	change(t, today, c.Nodes[2])
	progress(t, list)
	change(t, future, c.Nodes...)
	refuse(t, c, "3", "one at a time")
	cluster.Eventually(t, time.Minute, "the version to be raised", func() error {
		if out, code := cli(t, c, "cluster", "raise-version", "2"); code != 0 {
			return fmt.Errorf("exit code %d: %s", code, out)
		}
		return nil
	})
	progress(t, list)
	tooLate(t, today, c.Nodes[1])
	progress(t, list)
	change(t, future, c.Nodes[1])
	stop()
	writing.Wait()
	for _, counter := range list {
		counter.check(t, sdk)
	}
	t.Logf("upgraded, taken back, and upgraded after %s", time.Since(began).Round(time.Millisecond))
}

// tooLate starts a node with the build before: it has to end and say why, and may skip nothing of what it cannot read.
func tooLate(t *testing.T, today string, n *cluster.Node) {
	t.Helper()
	n.Stop()
	n.Install(today)
	n.Run()
	if code := n.WaitExit(2 * time.Minute); code == 0 {
		t.Errorf("%s runs a build that the cluster has left behind, and ends with exit code 0", n.Name)
	}
	if log := n.LogTail(4000); !strings.Contains(log, "run a newer build on this node") {
		t.Errorf("%s does not say what to do:\n%s", n.Name, log)
	}
}
