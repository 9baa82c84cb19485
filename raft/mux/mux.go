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
	"github.com/lightning-db/lightning/raft/wire"
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

	// ctx ends when the mux closes; every stream and call ends with it.
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // link loops, probers and stream handlers
	// installs bounds the snapshots that are being received at once.
	installs *semaphore.Weighted

	// mu is a leaf.
	mu struct {
		sync.RWMutex
		closed  bool
		groups  map[uint64]*Transport
		links   map[linkKey]*link
		probers map[api.NodeID]*prober
	}
}

type linkKey struct {
	node api.NodeID
	lane peers.Lane
}

// maxInstalls: each install fills the disk and the network of the node; two keep both busy.
const maxInstalls = 2

// New makes a Mux without groups. It connects to nobody until something is sent.
func New(o Options) *Mux {
	m := &Mux{node: o.Node, pool: o.Peers, clock: o.Clock, logger: o.Logger, onLost: o.OnLost, installs: semaphore.NewWeighted(maxInstalls)}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.mu.groups = make(map[uint64]*Transport)
	m.mu.links = make(map[linkKey]*link)
	m.mu.probers = make(map[api.NodeID]*prober)
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
func (m *Mux) hosted(g uint64, replica string) (*Transport, error) {
	m.mu.RLock()
	t := m.mu.groups[g]
	m.mu.RUnlock()
	if t == nil || t.local != replica {
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

// maxQueuedAnswers bounds the answers that wait for one stream; beyond it answers are dropped
// and the asker's deadline passes.
const maxQueuedAnswers = 4096

// Exchange implements peerv1.RaftServer: it hands out the requests of one lane of one node and
// sends the answers back in whatever order they come.
func (m *Mux) Exchange(stream grpc.BidiStreamingServer[peerv1.RaftFrames, peerv1.RaftFrames]) error {
	answers := make(chan []byte, maxQueuedAnswers)
	ended := make(chan error, 1)
	// The receiver ends when this handler returns: gRPC then cancels the stream.
	if !m.run(func() { ended <- m.receive(stream, answers) }) {
		return api.ToStatus(api.ErrShuttingDown)
	}
	for {
		select {
		case b := <-answers:
			if err := stream.Send(batchAnswers(b, answers)); err != nil {
				return err
			}
		case err := <-ended:
			return err
		case <-m.ctx.Done():
			return api.ToStatus(api.ErrShuttingDown)
		}
	}
}

// batchAnswers puts b and what else waits into one message.
func batchAnswers(b []byte, more <-chan []byte) *peerv1.RaftFrames {
	m := &peerv1.RaftFrames{Frames: [][]byte{b}}
	for size := len(b); size < maxBatchBytes; {
		select {
		case b := <-more:
			m.Frames = append(m.Frames, b)
			size += len(b)
		default:
			return m
		}
	}
	return m
}

func (m *Mux) receive(stream grpc.BidiStreamingServer[peerv1.RaftFrames, peerv1.RaftFrames], answers chan<- []byte) error {
	reply := func(f *wire.Frame) {
		select {
		case answers <- f.Encode():
		default:
		}
	}
	for {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, b := range message.Frames {
			f, err := wire.DecodeFrame(b)
			if err != nil {
				m.logger.Warn("raft stream ended by a bad frame", "error", err)
				return api.ToStatus(api.Errorf(api.CodeInvalid, "%w", err))
			}
			m.handle(&f, reply)
		}
	}
}

// handle never blocks: the stream carries all groups.
func (m *Mux) handle(f *wire.Frame, reply func(*wire.Frame)) {
	if f.Kind == wire.KindProbe {
		payload, err := m.answerProbe(f.Payload)
		reply(f.Answer(payload, err))
		return
	}
	t, err := m.hosted(uint64(f.Group), f.To)
	if err == nil {
		err = t.accept(f, reply)
	}
	if err != nil {
		reply(f.Answer(nil, err))
	}
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
		grpc.KeepaliveEnforcementPolicy(peerEnforcement),
		grpc.KeepaliveParams(peerKeepalive),
	}
}
