package lightningtest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/node"
)

// testNode is one node, running or not.
type testNode struct {
	// Set by newNode, and flags by Cluster.start; never written again.
	name        string
	resp        string
	respCluster string
	grpc        string
	http        string
	gossip      string
	flags       []string
	log         *tail

	// mu is a leaf.
	mu struct {
		sync.Mutex
		life *life // nil before the first start and after a stop
	}
}

// life is one run of a node.
type life struct {
	end   context.CancelCauseFunc
	cable *cable
	done  chan struct{} // closed when the node has ended; err is set before
	err   error
}

const (
	host = "127.0.0.1"

	// A test's store is small, and several clusters may run at once.
	memtableBytes = 4 << 20
	cacheBytes    = 8 << 20

	// logBytes is how much of the log of a node is kept for a test that fails.
	logBytes = 64 << 10
)

func newNode(i int, dir string) (*testNode, error) {
	n := &testNode{name: "node-" + strconv.Itoa(i), log: newTail(logBytes)}
	n.flags = []string{
		"--name=" + n.name, "--data-dir=" + dir, "--host=" + host,
		"--memtable-bytes=" + strconv.Itoa(memtableBytes), "--cache-bytes=" + strconv.Itoa(cacheBytes),
	}
	for _, p := range []struct {
		flag    string
		address *string
	}{
		{"resp-port", &n.resp}, {"resp-cluster-port", &n.respCluster}, {"grpc-port", &n.grpc},
		{"http-port", &n.http}, {"gossip-port", &n.gossip},
	} {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		*p.address = net.JoinHostPort(host, strconv.Itoa(port))
		n.flags = append(n.flags, "--"+p.flag+"="+strconv.Itoa(port))
	}
	return n, nil
}

// start starts the node and does not wait until it is ready.
func (n *testNode) start() error {
	config, err := node.LoadConfig(n.flags, func(string) (string, bool) { return "", false })
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.life != nil {
		return fmt.Errorf("%s is already running", n.name)
	}
	ctx, end := context.WithCancelCause(context.Background())
	l := &life{end: end, cable: newCable(), done: make(chan struct{})}
	n.mu.life = l
	go func() {
		defer close(l.done)
		l.err = node.RunOn(ctx, config, n.log, l.cable)
	}()
	return nil
}

// stop ends the node in order and returns when it has ended, with the error that ended it before.
func (n *testNode) stop() error {
	l := n.takeLife()
	if l == nil {
		return nil
	}
	l.end(context.Canceled)
	<-l.done
	return l.err
}

// kill breaks all connections of the node and then ends it. What it fails with is the cut.
func (n *testNode) kill() {
	if l := n.takeLife(); l != nil {
		l.end(node.ErrCrash)
		l.cable.cut()
		<-l.done
	}
}

func (n *testNode) takeLife() *life {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.mu.life
	n.mu.life = nil
	return l
}

func (n *testNode) running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.life != nil
}

func (n *testNode) waitReady(ctx context.Context) error {
	n.mu.Lock()
	l := n.mu.life
	n.mu.Unlock()
	if l == nil {
		return fmt.Errorf("%s does not run", n.name)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := poll(ctx, func() error {
		select {
		case <-l.done:
			cancel() // there is nothing to wait for
			return l.err
		default:
			return n.ready(ctx)
		}
	})
	if err != nil {
		return fmt.Errorf("%s is not ready: %w", n.name, err)
	}
	return nil
}

func (n *testNode) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.http+"/readyz", nil)
	if err != nil {
		return err
	}
	// No connection is kept: it would outlive the test in a goroutine.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(body)))
	}
	return nil
}

// pollEvery is short beside an election and long beside a request.
const pollEvery = 20 * time.Millisecond

// poll calls check until it succeeds or ctx ends, and returns its last error.
func poll(ctx context.Context, check func() error) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return err
		}
	}
}

// numberOf is the number of the node with an id, -1 if there is none.
func (c *Cluster) numberOf(known []*pb.Node, id string) int {
	for _, k := range known {
		for i, n := range c.nodes {
			if k.GetId() == id && k.GetName() == n.name {
				return i
			}
		}
	}
	return -1
}
