package mux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// Options configures a Mux. Node, Peers, Clock and Logger are required.
type Options struct {
	Node   api.NodeID
	Peers  *peers.Pool
	Clock  clock.Clock
	Logger *slog.Logger
	// OnLost is told when the Control stream to a node broke after it had worked: the node may be
	// dead. Optional. It must return soon.
	OnLost func(api.NodeID)
	// SnapshotRate bounds the bytes of snapshots, before compression, that the node sends in a second, and
	// those that it receives. Default 64 MiB.
	SnapshotRate int64
}

// Mux is the transport of a node: it carries the messages of every group over one stream per
// lane and node, and hands what arrives to the group it is for. Safe for concurrent use.
type Mux struct {
	peerv1.UnimplementedRaftServer

	node   api.NodeID
	pool   *peers.Pool
	clock  clock.Clock
	logger *slog.Logger
	onLost func(api.NodeID)
	began  time.Time // from which the moments are counted at which heartbeats leave

	// ctx ends when the mux closes; every stream and call ends with it.
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // link loops, probers and stream handlers
	// sends and installs bound the snapshots that are being sent and received at once. Who waits, waits in
	// the order of arrival; see snapshot.go.
	sends, installs    *semaphore.Weighted
	outgoing, incoming *pace // of snapshots
	// received bounds the entries that wait for the main loops of all groups.
	received *semaphore.Weighted

	// mu is a leaf.
	mu struct {
		sync.RWMutex
		closed  bool
		groups  map[uint64]*Transport
		links   map[linkKey]*link
		probers map[api.NodeID]*prober
		beaters map[api.NodeID]*beater
	}
}

type linkKey struct {
	node api.NodeID
	lane peers.Lane
}

// New makes a Mux without groups. It connects to nobody until something is sent.
func New(o Options) *Mux {
	m := &Mux{node: o.Node, pool: o.Peers, clock: o.Clock, logger: o.Logger, onLost: o.OnLost, began: o.Clock.Now(), received: semaphore.NewWeighted(maxReceivedBytes)}
	m.limitSnapshots(o.SnapshotRate)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.mu.groups = make(map[uint64]*Transport)
	m.mu.links = make(map[linkKey]*link)
	m.mu.probers = make(map[api.NodeID]*prober)
	m.mu.beaters = make(map[api.NodeID]*beater)
	return m
}

// Register adds the service that peers talk to. The server must be made with ServerOptions.
func (m *Mux) Register(r grpc.ServiceRegistrar) { peerv1.RegisterRaftServer(r, m) }

// Attach makes t the receiver of its group's messages, in place of an earlier one.
func (m *Mux) Attach(t *Transport) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.groups[t.group] = t
}

// detach takes t away; another transport of the same group stays.
func (m *Mux) detach(t *Transport) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.groups[t.group] == t {
		delete(m.mu.groups, t.group)
	}
}

// hosted finds the transport of a replica on this node.
func (m *Mux) hosted(g uint64, replica []byte) (*Transport, error) {
	m.mu.RLock()
	t := m.mu.groups[g]
	m.mu.RUnlock()
	if t == nil || t.local != string(replica) && !seededbug.Enabled(seededbug.MuxAnyIncarnation) {
		return nil, fmt.Errorf("replica %s of group %d is not on this node", replica, g)
	}
	return t, nil
}

// link returns the link to a node, starting it at first use.
func (m *Mux) link(node api.NodeID, lane peers.Lane) (*link, error) {
	key := linkKey{node, lane}
	m.mu.RLock()
	l := m.mu.links[key]
	m.mu.RUnlock()
	if l != nil {
		return l, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closed {
		return nil, errLinkClosed
	}
	if l := m.mu.links[key]; l != nil {
		return l, nil
	}
	onLost := m.onLost
	if lane != peers.Control {
		onLost = nil
	}
	l = newLink(m.pool, node, lane, onLost)
	m.mu.links[key] = l
	m.wg.Go(func() { l.loop(m.ctx) })
	return l, nil
}

// Connected reports whether the Control stream to a node stands.
func (m *Mux) Connected(node api.NodeID) bool {
	l, err := m.link(node, peers.Control)
	return err == nil && l.isConnected()
}

// prober returns the prober of a node.
func (m *Mux) prober(node api.NodeID) *prober {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.mu.probers[node]
	if p == nil {
		p = &prober{mux: m, node: node}
		m.mu.probers[node] = p
	}
	return p
}

// beater returns the beater of a node.
func (m *Mux) beater(node api.NodeID) *beater {
	m.mu.RLock()
	b := m.mu.beaters[node]
	m.mu.RUnlock()
	if b != nil {
		return b
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if b = m.mu.beaters[node]; b == nil {
		b = &beater{mux: m, node: node}
		m.mu.beaters[node] = b
	}
	return b
}

// run starts a goroutine that Close waits for; false when the mux is closed.
func (m *Mux) run(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closed {
		return false
	}
	m.wg.Go(f)
	return true
}

// Close ends every stream and waits.
func (m *Mux) Close() {
	m.mu.Lock()
	m.mu.closed = true
	m.mu.Unlock()
	m.cancel()
	m.wg.Wait()
}

var errBusy = errors.New("the group has too many messages waiting")

// peerEnforcement lets peers ping twice as often as internal/peers does; peerKeepalive finds
// the peers that went away without a word, whose streams would otherwise stay for hours.
var (
	peerEnforcement = keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}
	peerKeepalive   = keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 3 * time.Second}
)

// ServerOptions are what a gRPC server must be made with to carry the service that
// Register adds: messages as large as an entry, and peers that ping.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(api.MaxMessageBytes),
		grpc.MaxSendMsgSize(api.MaxMessageBytes),
		grpc.InitialWindowSize(api.StreamWindowBytes),
		grpc.InitialConnWindowSize(api.ConnectionWindowBytes),
		grpc.KeepaliveEnforcementPolicy(peerEnforcement),
		grpc.KeepaliveParams(peerKeepalive),
	}
}
