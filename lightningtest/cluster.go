package lightningtest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/internal/node"
	"github.com/lightning-db/lightning/router"
)

// Options says what to start. The zero value is one node with one shard.
type Options struct {
	// Nodes is how many. Default 1; three tolerate the loss of one.
	Nodes int
	// Shards is how many, each with a replica on up to three nodes. Default: as many as nodes.
	Shards int
	// Flags are further settings of every node, as on the command line of lightning-node start:
	// --heartbeat-timeout=300ms.
	Flags []string
	// ReadyWithin is how long the nodes may take until they are ready, after a start of the
	// cluster or of one node. Default 30 s, for machines that do something else as well.
	ReadyWithin time.Duration
}

func (o Options) withDefaults() Options {
	o.Nodes = max(o.Nodes, 1)
	if o.Shards == 0 {
		o.Shards = o.Nodes
	}
	if o.ReadyWithin == 0 {
		o.ReadyWithin = 30 * time.Second
	}
	return o
}

// Cluster is a running cluster. Its methods fail the test when they cannot do what they are for.
// Safe for concurrent use.
type Cluster struct {
	t     testing.TB
	opts  Options
	nodes []*testNode
}

// Start starts a cluster of n nodes and as many shards, and waits until it is ready. It is
// stopped and removed when the test ends.
func Start(t testing.TB, n int) *Cluster {
	t.Helper()
	return StartWith(t, Options{Nodes: n})
}

// startAttempts bounds how often ports are chosen anew: another process takes one of a dozen in
// the moment between the choice and the use at most now and then.
const startAttempts = 5

// StartWith is Start with options.
func StartWith(t testing.TB, o Options) *Cluster {
	t.Helper()
	c := &Cluster{t: t, opts: o.withDefaults()}
	dir := t.TempDir() // before Cleanup, so that it is removed after the nodes have stopped
	t.Cleanup(c.stop)
	for attempt := 1; ; attempt++ {
		err := c.start(filepath.Join(dir, strconv.Itoa(attempt)))
		if err == nil {
			return c
		}
		c.stopNodes()
		var taken *node.AddressError
		if !errors.As(err, &taken) || attempt == startAttempts {
			t.Fatalf("start a cluster: %v", err)
		}
	}
}

// start makes nodes with new ports and directories and waits until they are ready.
func (c *Cluster) start(dir string) error {
	c.nodes = nil
	var gossip []string
	for i := range c.opts.Nodes {
		n, err := newNode(i, filepath.Join(dir, "node-"+strconv.Itoa(i)))
		if err != nil {
			return err
		}
		c.nodes = append(c.nodes, n)
		gossip = append(gossip, n.gossip)
	}
	for _, n := range c.nodes {
		n.flags = append(n.flags, "--shards="+strconv.Itoa(c.opts.Shards))
		if len(c.nodes) > 1 {
			n.flags = append(n.flags, "--join="+strings.Join(gossip, ","), "--bootstrap-expect="+strconv.Itoa(len(c.nodes)))
		}
		n.flags = append(n.flags, c.opts.Flags...)
		if err := n.start(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.opts.ReadyWithin)
	defer cancel()
	for _, n := range c.nodes {
		if err := n.waitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Client makes a client that is closed when t, which may be a part of the cluster's test, ends.
func (c *Cluster) Client(t testing.TB) *client.Client {
	t.Helper()
	db := c.dial(t)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func (c *Cluster) dial(t testing.TB) *client.Client {
	t.Helper()
	db, err := client.New(client.Options{Addresses: c.Addresses()})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// Addresses are the gRPC addresses of all nodes, running or not, for client.Options.
func (c *Cluster) Addresses() []string {
	return c.addresses(func(n *testNode) string { return n.grpc })
}

// RedisAddresses are where all nodes speak the Redis protocol and answer for every key.
func (c *Cluster) RedisAddresses() []string {
	return c.addresses(func(n *testNode) string { return n.resp })
}

// RedisClusterAddresses are where all nodes speak the Redis protocol to cluster-aware clients.
func (c *Cluster) RedisClusterAddresses() []string {
	return c.addresses(func(n *testNode) string { return n.respCluster })
}

// HTTPAddresses are where all nodes serve /livez, /readyz and /metrics.
func (c *Cluster) HTTPAddresses() []string {
	return c.addresses(func(n *testNode) string { return n.http })
}

func (c *Cluster) addresses(of func(*testNode) string) []string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, of(n))
	}
	return all
}

// StopNode stops node i as a planned restart does: it finishes what it was asked, gives away its
// leaderships and tells the others. It returns when the node has ended.
func (c *Cluster) StopNode(i int) {
	c.t.Helper()
	if err := c.nodes[i].stop(); err != nil {
		c.t.Errorf("node %d: %v", i, err)
	}
}

// KillNode ends node i as a crash of its process looks to everyone else: its connections break in
// the middle, it answers nothing more, and nobody is told. What it had not been able to write to
// its disk yet it still writes. It returns when the node has ended.
func (c *Cluster) KillNode(i int) {
	c.nodes[i].kill()
}

// StartNode starts node i again, with its data and at its addresses, and waits until it is ready.
func (c *Cluster) StartNode(i int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), c.opts.ReadyWithin)
	defer cancel()
	if err := errors.Join(c.nodes[i].start(), c.nodes[i].waitReady(ctx)); err != nil {
		c.t.Fatalf("start node %d: %v", i, err)
	}
}

// Leader waits until a node leads the shard of a key and returns its number.
func (c *Cluster) Leader(key string) int {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), c.opts.ReadyWithin)
	defer cancel()
	db := c.dial(c.t)
	defer func() { _ = db.Close() }()
	leader := -1
	err := poll(ctx, func() error {
		// A read finds out who leads now; the hints of a node that follows may be old.
		if _, err := db.Get(ctx, 0, []byte(key)); err != nil {
			return err
		}
		status, err := db.Status(ctx)
		if err != nil {
			return err
		}
		slot := uint32(router.Slot(0, []byte(key)))
		for _, s := range status.GetMap().GetShards() {
			if slot < s.GetStartSlot() || slot >= s.GetEndSlot() {
				continue
			}
			for _, l := range status.GetLeaders() {
				if l.GetShardId() == s.GetId() {
					leader = c.numberOf(status.GetMap().GetNodes(), l.GetNodeId())
				}
			}
		}
		if leader < 0 || !c.nodes[leader].running() {
			return fmt.Errorf("nobody leads the shard of key %q", key)
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return leader
}

// stop ends all nodes and, if the test has failed, prints what they had to say.
func (c *Cluster) stop() {
	c.t.Helper()
	if err := c.stopNodes(); err != nil {
		c.t.Error(err)
	}
	if !c.t.Failed() {
		return
	}
	for _, n := range c.nodes {
		c.t.Logf("the end of the log of %s:\n%s", n.name, n.log.text())
	}
}

// stopNodes stops all at once: one after the other, each would hand over to the next.
func (c *Cluster) stopNodes() error {
	errs := make(chan error, len(c.nodes))
	for _, n := range c.nodes {
		go func() { errs <- n.stop() }()
	}
	var all error
	for range c.nodes {
		all = errors.Join(all, <-errs)
	}
	return all
}
