package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Options says what to start. The zero value is three nodes of the normal build on loopback.
type Options struct {
	Nodes int      // default 3
	Tags  []string // build tags
	Args  []string // further flags for every node
	Env   []string // further environment for every node
	// Secure gives the nodes TLS, a password and a gossip key; nil gives them none.
	Secure *Secure
	// Netns puts each node into a network namespace of its own; the test is skipped when that
	// is not possible here.
	Netns bool
	// Dir chooses the data directory of node i; default: in a temporary directory.
	Dir func(i int) string
	// LogDir is where the logs go; default: a temporary directory.
	LogDir string
	// ReadyWithin is how long all nodes may take until they are ready; default a minute.
	ReadyWithin time.Duration
	// Alone starts a single node without --join and --bootstrap-expect.
	Alone bool
	// Unstarted leaves the processes to the test.
	Unstarted bool
}

const readyWithin = time.Minute

func (o Options) withDefaults() Options {
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.ReadyWithin == 0 {
		o.ReadyWithin = readyWithin
	}
	return o
}

// Patient are the flags of nodes that keep their leaders on a machine so busy that a node is not heard of for a second or two:
// for tests that are not about failovers and whose clients do not repeat what one makes fail.
var Patient = []string{"--heartbeat-timeout", "2s"}

// Cluster is a set of nodes that form one cluster.
type Cluster struct {
	Nodes []*Node
	// ReadyAfter is the time from the first start until all nodes were ready.
	ReadyAfter time.Duration

	t       testing.TB
	further []string // flags that every node has
	network *network // nil without Options.Netns
}

// Start starts a cluster and waits until it is ready. It is removed when the test ends.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	o = o.withDefaults()
	c := &Cluster{t: t, further: o.Args}
	if o.Netns {
		c.network = newNetwork(t, o.Nodes)
	}
	binary := Binary(t, "lightning-node", o.Tags...)
	base := tempDir(t)
	if o.LogDir == "" {
		o.LogDir = base
	}
	t.Cleanup(c.cleanup)
	for i := range o.Nodes {
		n := &Node{Index: i, Name: "node-" + strconv.Itoa(i), t: t, binary: binary, env: o.Env, secure: o.Secure}
		n.Log = filepath.Join(o.LogDir, n.Name+".log")
		if n.Dir = filepath.Join(base, n.Name); o.Dir != nil {
			n.Dir = o.Dir(i)
		}
		if c.network != nil {
			n.netns = c.network.namespace(i)
			n.setAddresses(c.network.address(i), 6379, 7379, 8379, 9379, 5379)
			n.args = append(n.args, "--insecure")
		} else {
			n.setAddresses("127.0.0.1", FreePort(t), FreePort(t), FreePort(t), FreePort(t), FreePort(t))
		}
		if o.Secure != nil {
			n.args = append(n.args, o.Secure.args()...)
		}
		c.Nodes = append(c.Nodes, n)
	}
	for _, n := range c.Nodes {
		if o.Alone {
			n.args = append(n.args, o.Args...)
			continue
		}
		n.args = append(n.args, "--join", c.joinList(), "--bootstrap-expect", strconv.Itoa(o.Nodes))
		n.args = append(n.args, o.Args...)
	}
	if !o.Unstarted {
		c.startAll(o.ReadyWithin)
	}
	return c
}

// Add makes nodes that join the cluster, starts them, and waits until they are ready. Not for namespaces.
func (c *Cluster) Add(count int) []*Node {
	c.t.Helper()
	first := c.Nodes[0]
	var added []*Node
	for range count {
		i := len(c.Nodes)
		n := &Node{Index: i, Name: "node-" + strconv.Itoa(i), t: c.t, binary: first.binary, env: first.env, secure: first.secure}
		n.Log = filepath.Join(filepath.Dir(first.Log), n.Name+".log")
		n.Dir = filepath.Join(filepath.Dir(first.Dir), n.Name)
		n.setAddresses("127.0.0.1", FreePort(c.t), FreePort(c.t), FreePort(c.t), FreePort(c.t), FreePort(c.t))
		n.args = append(n.args, "--join", c.Running()[0].Addr)
		n.args = append(n.args, c.further...)
		c.Nodes = append(c.Nodes, n)
		added = append(added, n)
		n.Run()
	}
	for _, n := range added {
		n.WaitReady(readyWithin)
	}
	return added
}

// tempDir is t.TempDir, but a failed test with LIGHTNING_TEST_KEEP=1 leaves it for inspection.
func tempDir(t testing.TB) string {
	if os.Getenv("LIGHTNING_TEST_KEEP") != "1" {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("", "lightning-kept-")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("data and logs are kept in %s", dir)
	return dir
}

func (c *Cluster) joinList() string {
	list := ""
	for _, n := range c.Nodes {
		if list != "" {
			list += ","
		}
		list += n.Addr
	}
	return list
}

func (c *Cluster) startAll(limit time.Duration) {
	c.t.Helper()
	start := time.Now()
	for _, n := range c.Nodes {
		n.Run()
	}
	c.WaitReady(limit)
	c.ReadyAfter = time.Since(start)
	c.settle()
}

const (
	// settleWithin is enough for leaders to hand over to the preferred nodes, six heartbeat timeouts after
	// they became ready, where those did not win the first election.
	settleWithin = 15 * time.Second
	// catchUp is how long a new leader's shard time may be ahead of the clock, and some more.
	catchUp = 600 * time.Millisecond
)

// settle waits until leaderships stay where they are, as they do in a cluster that has been up for a
// while. A cluster that does not settle is for the test to judge.
func (c *Cluster) settle() {
	if len(c.Nodes) < 3 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleWithin)
	defer cancel()
	for {
		err := c.preferredLead(ctx)
		if err == nil || status.Code(errors.Unwrap(err)) == codes.Unauthenticated { // only the test knows the password
			break
		}
		if ctx.Err() != nil {
			return
		}
		Wait(ctx, 100*time.Millisecond)
	}
	Wait(ctx, catchUp)
}

// WaitReady waits until every running node is ready.
func (c *Cluster) WaitReady(limit time.Duration) {
	c.t.Helper()
	start := time.Now()
	for _, n := range c.Running() {
		n.WaitReady(limit - time.Since(start))
	}
}

// Running lists the nodes whose process runs.
func (c *Cluster) Running() []*Node {
	var out []*Node
	for _, n := range c.Nodes {
		if n.Running() {
			out = append(out, n)
		}
	}
	return out
}

// KillAll kills every node at once: all signals are sent before the first end is awaited.
func (c *Cluster) KillAll() {
	c.t.Helper()
	for _, n := range c.Nodes {
		n.Signal(syscall.SIGKILL)
	}
	for _, n := range c.Nodes {
		n.WaitExit(exitLimit)
	}
}

// StopAll asks every node to end and returns when all have; an exit code other than 0 fails the test.
func (c *Cluster) StopAll() {
	c.t.Helper()
	for _, n := range c.Nodes {
		n.Signal(syscall.SIGTERM)
	}
	for _, n := range c.Nodes {
		if code := n.WaitExit(exitLimit); code != 0 {
			c.t.Errorf("%s: exit code %d after SIGTERM\n%s", n.Name, code, n.LogTail(2000))
		}
	}
}

// StartAll starts every node that does not run and waits until all are ready.
func (c *Cluster) StartAll(limit time.Duration) {
	c.t.Helper()
	for _, n := range c.Nodes {
		if !n.Running() {
			n.Run()
		}
	}
	c.WaitReady(limit)
}

// Others lists the nodes but n.
func (c *Cluster) Others(n *Node) []*Node {
	var out []*Node
	for _, o := range c.Nodes {
		if o != n {
			out = append(out, o)
		}
	}
	return out
}

// cleanup leaves nothing behind and, when the test failed, says what the nodes had to say.
func (c *Cluster) cleanup() {
	for _, n := range c.Nodes {
		n.Signal(syscall.SIGKILL)
	}
	for _, n := range c.Nodes {
		n.WaitExit(exitLimit)
	}
	if c.network != nil {
		c.network.remove()
	}
	for _, n := range c.Nodes {
		if found := n.bug(); found != "" {
			c.t.Errorf("%s printed:\n%s", n.Name, found)
		}
	}
	if !c.t.Failed() {
		return
	}
	for _, n := range c.Nodes {
		fmt.Fprintf(os.Stderr, "=== end of the log of %s (%s)\n%s\n", n.Name, n.Log, n.LogTail(8000))
		c.saveLog(n)
	}
}

// saveLog copies a whole log to LIGHTNING_TEST_LOGS, where a build server can pick it up.
func (c *Cluster) saveLog(n *Node) {
	dir := os.Getenv("LIGHTNING_TEST_LOGS")
	if dir == "" {
		return
	}
	b, err := os.ReadFile(n.Log)
	if err == nil {
		if err = os.MkdirAll(dir, 0o755); err == nil {
			err = os.WriteFile(filepath.Join(dir, c.t.Name()+"-"+n.Name+".log"), b, 0o644)
		}
	}
	if err != nil {
		c.t.Logf("save log: %v", err)
	}
}
