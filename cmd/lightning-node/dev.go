package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"github.com/lightning-db/lightning/internal/node"
)

// Ports of node 0; node i listens i higher.
const (
	devRESPPort        = 6379
	devRESPClusterPort = 7379
	devGRPCPort        = 8379
	devHTTPPort        = 9379
	devGossipPort      = 5379
)

const (
	maxDevNodes    = 9 // more would only fight for one machine's cores
	devReadyLimit  = 60 * time.Second
	devReadyPoll   = 50 * time.Millisecond
	devStopLimit   = 15 * time.Second
	devLogTailSize = 2048
)

type devOptions struct {
	dir        string
	nodes      int
	portOffset int
	shards     int
	logLevel   string
}

// dev runs several real nodes as processes on loopback until ctx ends or all of them stopped.
func dev(ctx context.Context, args []string, stdout io.Writer) error {
	o, err := parseDevOptions(args, stdout)
	if errors.Is(err, pflag.ErrHelp) {
		return nil
	}
	if err != nil {
		return &node.ConfigError{Problems: []string{err.Error()}}
	}
	if err := o.checkPorts(ctx); err != nil {
		return err
	}
	began := time.Now()
	dir, temporary := o.dir, false
	if dir == "" {
		if dir, err = os.MkdirTemp("", "lightning-dev-"); err != nil {
			return &node.DataDirError{Dir: os.TempDir(), Cause: err}
		}
		temporary = true
		defer os.RemoveAll(dir)
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return &node.DataDirError{Dir: dir, Cause: err}
	}
	cluster, err := startDevNodes(dir, o)
	if err != nil {
		return err
	}
	defer cluster.stop()
	fmt.Fprintf(stdout, "Starting %d nodes, data and logs in %s%s\n", o.nodes, dir, map[bool]string{true: " (temporary: removed at the end)"}[temporary])
	if err := cluster.waitReady(ctx); err != nil {
		return err
	}
	cluster.printTable(stdout, time.Since(began))
	return cluster.watch(ctx, stdout)
}

func parseDevOptions(args []string, stdout io.Writer) (devOptions, error) {
	var o devOptions
	fs := pflag.NewFlagSet("lightning-node dev", pflag.ContinueOnError)
	fs.Usage = func() {
		fmt.Fprintf(stdout, "Usage: lightning-node dev [flags]\n\n%s", fs.FlagUsages())
	}
	fs.StringVar(&o.dir, "dir", "", "directory that keeps the data (default: a temporary one, removed at the end)")
	fs.IntVar(&o.nodes, "nodes", 3, "how many nodes")
	fs.IntVar(&o.portOffset, "port-offset", 0, "added to every port")
	fs.IntVar(&o.shards, "shards", 0, "shards of a new cluster (default: one per node)")
	fs.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if o.nodes < 1 || o.nodes > maxDevNodes {
		return o, fmt.Errorf("--nodes must be from 1 to %d", maxDevNodes)
	}
	if o.portOffset < 0 || devHTTPPort+o.portOffset+o.nodes > 65535 {
		return o, fmt.Errorf("--port-offset %d leaves no room for the ports", o.portOffset)
	}
	return o, nil
}

// checkPorts refuses ports that are in use. Another cluster on them would say that it is ready, and
// be taken for the one that is to start.
func (o devOptions) checkPorts(ctx context.Context) error {
	for i := range o.nodes {
		for _, port := range []int{devRESPPort, devRESPClusterPort, devGRPCPort, devHTTPPort, devGossipPort} {
			address := "127.0.0.1:" + strconv.Itoa(port+o.portOffset+i)
			listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
			if err != nil {
				return &node.AddressError{Flag: "--port-offset", Address: address, Cause: err}
			}
			_ = listener.Close() // the node opens it again
		}
	}
	return nil
}

// devNode is one child process.
type devNode struct {
	name   string
	index  int
	offset int
	log    string
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended; err is set before
	err    error
}

func (n *devNode) address(port int) string {
	return "127.0.0.1:" + strconv.Itoa(port+n.offset+n.index)
}

type devCluster struct {
	nodes []*devNode
	died  chan *devNode
}

func startDevNodes(dir string, o devOptions) (*devCluster, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &devCluster{died: make(chan *devNode, o.nodes)}
	var gossip []string
	for i := range o.nodes {
		gossip = append(gossip, "127.0.0.1:"+strconv.Itoa(devGossipPort+o.portOffset+i))
	}
	for i := range o.nodes {
		n := &devNode{name: fmt.Sprintf("node-%d", i), index: i, offset: o.portOffset, exited: make(chan struct{})}
		n.log = filepath.Join(dir, n.name+".log")
		if err := n.start(binary, dir, gossip, o); err != nil {
			c.stop()
			return nil, fmt.Errorf("start %s: %w", n.name, err)
		}
		c.nodes = append(c.nodes, n)
		go n.wait(c.died)
	}
	return c, nil
}

func (n *devNode) start(binary, dir string, gossip []string, o devOptions) error {
	out, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close() // the child has its own descriptor
	port := func(base int) string { return strconv.Itoa(base + n.offset + n.index) }
	args := []string{
		"start", "--data-dir", filepath.Join(dir, n.name), "--name", n.name, "--host", "127.0.0.1",
		"--resp-port", port(devRESPPort), "--resp-cluster-port", port(devRESPClusterPort), "--grpc-port", port(devGRPCPort),
		"--http-port", port(devHTTPPort), "--gossip-port", port(devGossipPort), "--log-level", o.logLevel,
	}
	if o.nodes > 1 {
		args = append(args, "--bootstrap-expect", strconv.Itoa(o.nodes), "--join", strings.Join(gossip, ","))
	}
	if o.shards > 0 {
		args = append(args, "--shards", strconv.Itoa(o.shards))
	}
	n.cmd = exec.Command(binary, args...)
	n.cmd.Stdout, n.cmd.Stderr = out, out
	n.cmd.SysProcAttr = childAttributes()
	return n.cmd.Start()
}

func (n *devNode) wait(died chan<- *devNode) {
	n.err = n.cmd.Wait()
	close(n.exited)
	died <- n
}

// logTail is the end of the node's log, for an error message.
func (n *devNode) logTail() string {
	data, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	if len(data) > devLogTailSize {
		data = data[len(data)-devLogTailSize:]
	}
	return string(data)
}

// devStartError keeps the exit code of the node that could not start.
func (n *devNode) startError() error {
	err := fmt.Errorf("%s stopped before it was ready (%v); the end of %s:\n%s", n.name, n.err, n.log, n.logTail())
	if n.cmd.ProcessState == nil {
		return err
	}
	switch n.cmd.ProcessState.ExitCode() {
	case node.ExitAddress:
		return &node.AddressError{Flag: "--port-offset", Address: "the ports of " + n.name, Cause: err}
	case node.ExitDataDir:
		return &node.DataDirError{Dir: n.name, Cause: err}
	}
	return err
}

func (c *devCluster) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, devReadyLimit)
	defer cancel()
	tick := time.NewTicker(devReadyPoll)
	defer tick.Stop()
	for _, n := range c.nodes {
		for !isReady(ctx, "http://"+n.address(devHTTPPort)+"/readyz") {
			select {
			case dead := <-c.died:
				return dead.startError()
			case <-ctx.Done():
				return fmt.Errorf("%s was not ready: %w; the end of %s:\n%s", n.name, ctx.Err(), n.log, n.logTail())
			case <-tick.C:
			}
		}
	}
	return nil
}

func isReady(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (c *devCluster) printTable(w io.Writer, took time.Duration) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nNODE\tREDIS\tREDIS CLUSTER\tGRPC\tHTTP\tPID")
	for _, n := range c.nodes {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\n", n.name, n.address(devRESPPort), n.address(devRESPClusterPort), n.address(devGRPCPort), n.address(devHTTPPort), n.cmd.Process.Pid)
	}
	t.Flush()
	first := c.nodes[0]
	fmt.Fprintf(w, "\n%d nodes serving, ready in %.1f s. Try:\n  redis-cli -p %d set greeting hello\n  go run ./cmd/lightning-cli --addr %s get greeting\nCtrl-C stops all.\n",
		len(c.nodes), took.Seconds(), devRESPPort+first.offset, c.nodes[len(c.nodes)-1].address(devGRPCPort))
}

// watch reports nodes that die, since killing one is what people try, and returns when ctx ends
// or none is left.
func (c *devCluster) watch(ctx context.Context, w io.Writer) error {
	for left := len(c.nodes); left > 0; left-- {
		select {
		case <-ctx.Done():
			fmt.Fprintln(w, "\nStopping …")
			return nil
		case n := <-c.died:
			fmt.Fprintf(w, "%s stopped (%v); %d of %d nodes left. Its log: %s\n", n.name, n.err, left-1, len(c.nodes), n.log)
		}
	}
	return errors.New("no node is left")
}

// stop asks every node to stop, and ends those that do not.
func (c *devCluster) stop() {
	for _, n := range c.nodes {
		// An error means that the process has ended already.
		_ = n.cmd.Process.Signal(syscall.SIGTERM)
	}
	limit := time.NewTimer(devStopLimit)
	defer limit.Stop()
	for _, n := range c.nodes {
		select {
		case <-n.exited:
		case <-limit.C:
			limit.Reset(0)
			_ = n.cmd.Process.Kill()
			<-n.exited
		}
	}
}
