package raft

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft/mux"
)

// HostOptions configures a Host. Node, Dir, FS and Peers are required.
type HostOptions struct {
	Node api.NodeID
	// Dir holds the logs and, in Dir/staging, snapshots on their way. It must be on the same
	// file system as the state machines, which link and rename files into and out of it.
	Dir string
	FS  vfs.FS
	// Storage keeps the logs; the host closes it. Default: a BoltStorage in Dir, whose files
	// bbolt opens by itself, whatever FS is.
	Storage Storage
	Peers   *peers.Pool
	// Clock is what the state machines take their time from. Here it is compared with the clocks
	// of other nodes, see MaxClockOffset, and shown in log lines. Default: the machine's.
	Clock clock.Clock
	// MaxClockOffset is how far the clocks of a majority of the voters may be from this node's
	// while it leads (R11). Default 5 s: a clock that is kept by NTP or PTP comes nowhere near it,
	// leap seconds included, and if a leader does put the group's time that far ahead, real time
	// catches up in as long. A measurement is wrong by half a round trip at most, which
	// Timing.HeartbeatTimeout bounds.
	MaxClockOffset time.Duration
	// Logger. Default: none.
	Logger *slog.Logger
	// OnFailure is called once, on a goroutine of its own, when the storage of a group failed
	// for good. That group acknowledges nothing from then on; the process should exit. It must
	// return, and must not call Close itself.
	OnFailure func(error)
	// StallLimit is how long one write of a log may take before the group fails with a *StalledError.
	// Long before, after a heartbeat timeout, the node stops acting as a leader. Default 20 s.
	StallLimit time.Duration
	// SnapshotRate bounds the bytes of snapshots that the node sends in a second, and those that it
	// receives, at least 1 MiB. Default 64 MiB. What is smaller leaves more of disk and network to
	// foreground work, and a follower that is far behind catches up only if it is more than what is written.
	SnapshotRate int64
	Timing       Timing
}

func (o HostOptions) withDefaults() HostOptions {
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.MaxClockOffset == 0 {
		o.MaxClockOffset = 5 * time.Second
	}
	if o.StallLimit == 0 {
		o.StallLimit = 20 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if o.OnFailure == nil {
		o.OnFailure = func(error) {}
	}
	o.Timing = o.Timing.withDefaults()
	return o
}

// MinSnapshotRate keeps a slow transfer from being taken for one that has stalled.
const MinSnapshotRate = 1 << 20

// Validate reports every problem.
func (o HostOptions) Validate() error {
	var problems []error
	for _, p := range []struct {
		missing bool
		what    string
	}{{o.Node == "", "node id"}, {o.Dir == "", "directory"}, {o.FS == nil, "file system"}, {o.Peers == nil, "peers"}} {
		if p.missing {
			problems = append(problems, fmt.Errorf("raft host: no %s", p.what))
		}
	}
	if o.MaxClockOffset < 0 {
		problems = append(problems, fmt.Errorf("raft host: maximal clock offset %s is negative", o.MaxClockOffset))
	}
	if o.SnapshotRate != 0 && o.SnapshotRate < MinSnapshotRate {
		problems = append(problems, fmt.Errorf("raft host: snapshot rate of %d bytes a second is below 1 MiB", o.SnapshotRate))
	}
	if t := o.withDefaults(); t.StallLimit < t.Timing.HeartbeatTimeout {
		problems = append(problems, fmt.Errorf("raft host: stall limit %s is below the heartbeat timeout %s", t.StallLimit, t.Timing.HeartbeatTimeout))
	}
	return errors.Join(append(problems, o.withDefaults().Timing.Validate())...)
}

// Host runs the groups of one node. Safe for concurrent use.
type Host struct {
	opts HostOptions
	mux  *mux.Mux

	failOnce sync.Once
	wg       sync.WaitGroup // the call of OnFailure, watchLoop and reclaimLoop

	looks    atomic.Uint64 // of watchLoop
	draining atomic.Bool
	avoided  atomic.Pointer[map[api.NodeID]bool] // nodes that should lead nothing
	stop     chan struct{}                       // closed by Close

	// mu is a leaf.
	mu struct {
		sync.Mutex
		closed bool
		groups map[GroupID]*Group // nil value: being started, founded, changed or discarded
		freed  sync.Cond          // on the mutex: a nil value is none any more
	}
}

// NewHost prepares the directory; it starts no group.
func NewHost(o HostOptions) (*Host, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	// What a crash left of snapshots on their way is worth nothing.
	if err := o.FS.RemoveAll(o.Dir + "/staging"); err != nil {
		return nil, fmt.Errorf("clear staging directory: %w", err)
	}
	if err := o.FS.MkdirAll(o.Dir + "/staging"); err != nil {
		return nil, fmt.Errorf("make staging directory: %w", err)
	}
	if o.Storage == nil {
		s, err := NewBoltStorage(BoltOptions{Dir: o.Dir, FS: vfs.OS()})
		if err != nil {
			return nil, err
		}
		o.Storage = s
	}
	h := &Host{opts: o, stop: make(chan struct{})}
	h.mux = mux.New(mux.Options{Node: o.Node, Peers: o.Peers, Clock: o.Clock, Logger: o.Logger, OnLost: h.Suspect, SnapshotRate: o.SnapshotRate})
	h.mu.groups = make(map[GroupID]*Group)
	h.mu.freed.L = &h.mu.Mutex
	h.wg.Go(h.watchLoop)
	if s, ok := o.Storage.(BoundedStorage); ok {
		h.wg.Go(func() { h.reclaimLoop(s) })
	}
	return h, nil
}

// ServerOptions are what a gRPC server must be made with for RegisterServices.
func ServerOptions() []grpc.ServerOption { return mux.ServerOptions() }

// RegisterServices adds the service that peers talk to. The server must be made with
// ServerOptions.
func (h *Host) RegisterServices(r grpc.ServiceRegistrar) { h.mux.Register(r) }

// Start starts a group. Its storage and its state machine must fit together; if they do not,
// the error says how, and nothing was changed.
func (h *Host) Start(o GroupOptions) (*Group, error) {
	if o.StateMachine == nil || o.Tick == nil {
		return nil, fmt.Errorf("start group %s: no state machine or no tick", o.ID)
	}
	if err := h.reserve(o.ID); err != nil {
		return nil, err
	}
	g, err := startGroup(h, o)
	h.mu.Lock()
	closed := h.mu.closed
	if err != nil || closed {
		delete(h.mu.groups, o.ID)
	} else {
		h.mu.groups[o.ID] = g
	}
	h.mu.freed.Broadcast()
	h.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("start group %s: %w", o.ID, err)
	}
	if closed {
		return nil, errors.Join(api.ErrShuttingDown, g.Close())
	}
	return g, nil
}

// reserve keeps a second group of the same id from starting. It waits for whoever else is at it.
func (h *Host) reserve(id GroupID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.closed {
		return api.ErrShuttingDown
	}
	if !h.reserveLocked(id) {
		return fmt.Errorf("start group %s: it runs already", id)
	}
	return nil
}

// reserveLocked is false for a group that runs.
func (h *Host) reserveLocked(id GroupID) bool {
	for {
		g, taken := h.mu.groups[id]
		switch {
		case !taken:
			h.mu.groups[id] = nil
			return true
		case g != nil:
			return false
		}
		h.mu.freed.Wait()
	}
}

func (h *Host) unreserve(id GroupID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.mu.groups, id)
	h.mu.freed.Broadcast()
}

func (h *Host) remove(g *Group) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.groups[g.id] == g {
		delete(h.mu.groups, g.id)
	}
}

// Group finds a group that runs here.
func (h *Host) Group(id GroupID) (*Group, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.mu.groups[id]
	return g, g != nil
}

// appendGroups adds the groups that run to list.
func (h *Host) appendGroups(list []*Group) []*Group {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range h.mu.groups {
		if g != nil {
			list = append(list, g)
		}
	}
	return list
}

// Suspect is a hint that node may be dead: the groups that it leads look for a new leader
// sooner. A wrong hint costs nothing, because a leader that lives keeps being heard.
func (h *Host) Suspect(node api.NodeID) {
	for _, g := range h.appendGroups(nil) {
		g.suspect(node)
	}
}

// fail calls OnFailure at the first failure of any group.
func (h *Host) fail(err error) {
	h.failOnce.Do(func() {
		h.opts.Logger.Error("raft storage failed", "error", err)
		h.wg.Go(func() { h.opts.OnFailure(err) })
	})
}

// handOver is how long Close tries to give leaderships away.
const handOver = time.Second

// Close gives away the leaderships it can within a second, stops every group and closes the
// storage. Proposals on their way fail.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.mu.closed {
		h.mu.Unlock()
		return nil
	}
	h.mu.closed = true
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), handOver)
	if err := h.HandOver(ctx); err != nil {
		h.opts.Logger.Info("leaderships not handed over", "error", err)
	}
	cancel()
	groups := h.appendGroups(nil)
	var wg sync.WaitGroup
	errs := make([]error, len(groups))
	for i, g := range groups {
		wg.Go(func() { errs[i] = g.Close() })
	}
	wg.Wait()
	h.mux.Close()
	close(h.stop)
	h.wg.Wait()
	return errors.Join(append(errs, h.opts.Storage.Close())...)
}
