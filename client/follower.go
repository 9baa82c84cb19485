package client

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/router"
)

const (
	// pollTime is how long a node may sit on a request for the next map. It bounds the age of
	// the leader hints, which come with the map but do not raise its revision.
	pollTime = 10 * time.Second

	// refreshTime bounds a request for the map as it is.
	refreshTime = 2 * time.Second

	// refreshPause is the least time between two requests for the map, however many calls ask
	// for one.
	refreshPause = 100 * time.Millisecond
)

// follower keeps the router's map and leader hints fresh, by long polls in one goroutine.
type follower struct {
	// Set by startFollower, never written again.
	conns  *connections
	router *router.Router
	seeds  []string
	logger *slog.Logger
	stop   context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended

	turn atomic.Uint64 // of nextTurn

	// Owned by followLoop.
	cluster string // id of the first cluster that was met
	warned  bool   // the last poll failed and was logged

	// mu is a leaf: nothing is locked and no I/O is done while it is held.
	mu struct {
		sync.Mutex
		wanted bool               // refresh was called and no request for the map was begun since
		cut    context.CancelFunc // ends the long poll in progress, nil when there is none
	}
}

func startFollower(conns *connections, r *router.Router, o Options) *follower {
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{
		conns: conns, router: r, seeds: o.Addresses, logger: o.Logger,
		stop: cancel, done: make(chan struct{}),
	}
	go f.followLoop(ctx)
	return f
}

func (f *follower) close() {
	f.stop()
	<-f.done
}

// refresh asks for the map and the hints soon. It does not wait, and may be called often.
func (f *follower) refresh() {
	f.mu.Lock()
	f.mu.wanted = true
	cut := f.mu.cut
	f.mu.Unlock()
	if cut != nil {
		cut()
	}
}

// nextTurn moves on with every call; see rotate.
func (f *follower) nextTurn() uint64 { return f.turn.Add(1) }

// rotate returns the addresses from the place of a turn on, so that work that any node can do is
// spread over all. One choice among several lists takes one turn: with a turn for each list, a
// number of nodes that divides the number of lists would see the same choice every time.
func rotate(addresses []string, turn uint64) []string {
	if len(addresses) < 2 {
		return addresses
	}
	first := int(turn % uint64(len(addresses)))
	rotated := make([]string, 0, len(addresses))
	return append(append(rotated, addresses[first:]...), addresses[:first]...)
}

func (f *follower) followLoop(ctx context.Context) {
	defer close(f.done)
	pause := refreshPause
	for ctx.Err() == nil {
		if f.poll(ctx) {
			pause = refreshPause
		} else {
			pause = min(2*pause, time.Second)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// poll asks one node for the map, and reports whether it got one or was cut off on purpose.
func (f *follower) poll(ctx context.Context) bool {
	conn, err := f.choose()
	if err != nil {
		return false // the client is being closed
	}
	ctx, after, cancel := f.begin(ctx)
	defer cancel()
	response, err := conn.cluster.GetMap(ctx, &pb.GetMapRequest{AfterRevision: after})
	f.end()
	if err == nil {
		conn.trust()
		f.take(conn.address, response)
		return true
	}
	if context.Cause(ctx) == errCut {
		return true
	}
	if ctx.Err() == context.Canceled {
		return false // the client is being closed
	}
	if judge(err, false, true).unreachable {
		conn.suspect()
	}
	f.warn("cannot fetch the cluster map", conn.address, "error", err)
	return false
}

var errCut = api.Errorf(api.CodeUnavailable, "a fresh map is wanted")

// begin decides between a long poll and, when there is no map yet or a refresh was asked for, a
// request for the map as it is.
func (f *follower) begin(ctx context.Context) (_ context.Context, after uint64, _ context.CancelFunc) {
	table := f.router.Table()
	f.mu.Lock()
	defer f.mu.Unlock()
	if table == nil || f.mu.wanted {
		f.mu.wanted = false
		ctx, cancel := context.WithTimeout(ctx, refreshTime)
		return ctx, 0, cancel
	}
	ctx, stopTimer := context.WithTimeout(ctx, pollTime)
	ctx, cut := context.WithCancelCause(ctx)
	f.mu.cut = func() { cut(errCut) }
	return ctx, table.Revision(), func() { cut(nil); stopTimer() }
}

func (f *follower) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.cut = nil
}

// choose picks a node of the map or a seed, one that is not suspected if there is one.
func (f *follower) choose() (*connection, error) {
	turn := f.nextTurn()
	var addresses []string
	if t := f.router.Table(); t != nil {
		addresses = rotate(nodeAddresses(t), turn)
	}
	var best *connection
	for _, address := range append(addresses, rotate(f.seeds, turn)...) {
		conn, err := f.conns.to(address)
		if err != nil {
			return nil, err
		}
		if !conn.suspected() {
			return conn, nil
		}
		if best == nil {
			best = conn
		}
	}
	return best, nil
}

// take uses a map and its hints. A client belongs to the first cluster that it meets: keys that
// went to one must not be looked for in another.
func (f *follower) take(from string, r *pb.GetMapResponse) {
	m := r.GetMap()
	if m == nil {
		return // the cluster has not formed yet
	}
	if f.cluster == "" {
		f.cluster = m.GetClusterId()
	}
	if m.GetClusterId() != f.cluster {
		f.warn("a node belongs to another cluster", from, "cluster", m.GetClusterId(), "want", f.cluster)
		return
	}
	changed, err := f.router.Update(m)
	if err != nil {
		f.warn("cannot use a cluster map", from, "revision", m.GetRevision(), "error", err)
		return
	}
	f.warned = false
	if changed {
		f.conns.keep(f.inUse())
	}
	for _, hint := range r.GetLeaders() {
		f.router.SetLeader(api.ShardID(hint.GetShardId()), api.NodeID(hint.GetNodeId()))
	}
}

// warn logs once until a map is taken again.
func (f *follower) warn(message, address string, more ...any) {
	if !f.warned {
		f.warned = true
		f.logger.Warn(message, append([]any{"address", address}, more...)...)
	}
}

// inUse is the set of addresses that connections are kept to.
func (f *follower) inUse() map[string]bool {
	set := make(map[string]bool)
	for _, a := range f.seeds {
		set[a] = true
	}
	for _, a := range nodeAddresses(f.router.Table()) {
		set[a] = true
	}
	return set
}

// nodeAddresses are the gRPC addresses of the map's nodes, in map order.
func nodeAddresses(t *router.Table) []string {
	var addresses []string
	for _, n := range t.Map().GetNodes() {
		if a := n.GetGrpcAddress(); a != "" {
			addresses = append(addresses, a)
		}
	}
	return addresses
}
