package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/entropy"
)

// Options configures a Membership. Nothing of it changes while it runs; Info changes by Update.
type Options struct {
	// Info is what this node tells about itself. Node, Name and GRPCAddress are required.
	Info Info
	// Bind is the address to listen on, host:port, host an IP address or localhost. Port 0 picks one.
	Bind string
	// Advertise is the host, an IP address or a DNS name, under which others reach this node's
	// gossip. Default: the host of Bind, or the machine's private address if that is unspecified.
	Advertise string
	// Join lists gossip addresses, host:port or DNS names, asked again for ever. A name without a
	// port gets the port of Bind.
	Join []string
	// Label keeps clusters apart: nodes with different labels do not talk. At most 255 bytes.
	Label string
	// Keys encrypt gossip: the first encrypts, all decrypt. Default: none, and none can come later.
	Keys [][]byte
	// Resolver turns names into addresses, anew whenever somebody is looked for. Default: the machine's.
	Resolver Resolver
	// Clock and Entropy name this start of the process. Default: the machine's.
	Clock   clock.Clock
	Entropy entropy.Source
	// Logger is required.
	Logger *slog.Logger
}

// Resolver finds the addresses behind a name; *net.Resolver implements it.
type Resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
}

func (o Options) withDefaults() Options {
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Entropy == (entropy.Source{}) {
		o.Entropy = entropy.System()
	}
	return o
}

// Validate reports every problem.
func (o Options) Validate() error {
	var problems []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	refuse(o.Info.Node == "" || o.Info.Name == "" || o.Info.GRPCAddress == "", "gossip needs the node's id, name and gRPC address")
	refuse(len(o.Label) > memberlist.LabelMaxSize, "the cluster name has %d bytes, allowed are %d", len(o.Label), memberlist.LabelMaxSize)
	for _, key := range o.Keys {
		refuse(memberlist.ValidateKey(key) != nil, "a gossip key has %d bytes, allowed are 16, 24 and 32", len(key))
	}
	refuse(o.Info.Expect < 0 || o.Info.Expect > maxExpect, "%d expected nodes are not within 0 to %d", o.Info.Expect, maxExpect)
	host, port, err := net.SplitHostPort(o.Bind)
	_, portErr := strconv.ParseUint(port, 10, 16)
	refuse(err != nil || host != "localhost" && net.ParseIP(host) == nil || portErr != nil, "gossip address %q is not an IP address and a port", o.Bind)
	for _, join := range o.Join {
		refuse(join == "", "an address to join is empty")
	}
	return errors.Join(problems...)
}

// Timing: a dead node is noticed within about one and a half seconds, for some 20 packets a second.
const (
	probeInterval     = 300 * time.Millisecond
	probeTimeout      = 150 * time.Millisecond
	suspicionMult     = 3
	suspicionMaxMult  = 3 // bounds the wait for a second opinion, which a lone survivor never gets
	gossipInterval    = 100 * time.Millisecond
	pushPullInterval  = 10 * time.Second
	streamTimeout     = 2 * time.Second
	deadReclaim       = 2 * time.Second
	restartNoteBudget = 500 * time.Millisecond // of Leave, for the description that says "restarting"
)

// Membership is this node's view of who is there. Safe for concurrent use.
type Membership struct {
	// Set by Start, never written again.
	opts        Options
	address     string // of our gossip
	boot        uint64
	defaultPort int
	logger      *slog.Logger
	view        *view
	list        *memberlist.Memberlist
	keyring     *memberlist.Keyring // nil without Options.Keys
	events      chan Event
	stopped     context.Context
	stop        context.CancelFunc
	loops       sync.WaitGroup

	// dirty wakes the tell loop; it holds one signal, more say nothing new.
	dirty chan struct{}

	// mu is a leaf.
	mu struct {
		sync.Mutex
		info    Info
		encoded []byte // of info
	}

	// ending makes Leave and Close wait for each other: memberlist panics on leaving after the end,
	// and Close waits for the loops, of which leaving is one.
	ending struct {
		sync.Mutex
		closed bool
	}
}

// ListenError says that the gossip port cannot be used. What memberlist reports is text only.
type ListenError struct {
	Address string
	Cause   error
}

// Error implements error.
func (e *ListenError) Error() string {
	return fmt.Sprintf("listen for gossip on %s: %v", e.Address, e.Cause)
}

// Unwrap gives the cause.
func (e *ListenError) Unwrap() error { return e.Cause }

// Start listens, and begins to join in the background. The error is a *ListenError or lists what is
// wrong with the options.
func Start(o Options) (*Membership, error) {
	o = o.withDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	random, err := o.Entropy.Uint64()
	if err != nil {
		return nil, fmt.Errorf("name this start of the process: %w", err)
	}
	m := &Membership{
		opts: o, boot: clock.Millis(o.Clock), logger: o.Logger, view: newView(),
		events: make(chan Event), dirty: make(chan struct{}, 1),
	}
	if err := m.setInfo(o.Info); err != nil {
		return nil, err
	}
	m.stopped, m.stop = context.WithCancel(context.Background())
	if err := m.listen(random); err != nil {
		m.stop()
		return nil, err
	}
	m.loops.Go(m.joinLoop)
	m.loops.Go(m.eventLoop)
	m.loops.Go(m.tellLoop)
	return m, nil
}

// listen starts memberlist. The name that it knows this process by is of this start alone, so that
// a node which comes back elsewhere is no conflict with its former self (G1).
func (m *Membership) listen(random uint64) error {
	host, port, _ := net.SplitHostPort(m.opts.Bind) // valid by Validate
	if host == "localhost" {
		host = "127.0.0.1" // memberlist takes addresses only
	}
	m.defaultPort, _ = strconv.Atoi(port)
	c := memberlist.DefaultLANConfig()
	c.Name = fmt.Sprintf("%s.%016x", m.opts.Info.Node, random)
	c.BindAddr, c.BindPort = host, m.defaultPort
	c.AdvertiseAddr, c.AdvertisePort = m.advertised(), m.defaultPort
	c.Label = m.opts.Label
	if len(m.opts.Keys) > 0 {
		ring, err := memberlist.NewKeyring(m.opts.Keys, m.opts.Keys[0])
		if err != nil {
			return fmt.Errorf("gossip keys: %w", err)
		}
		c.Keyring, m.keyring = ring, ring
	}
	c.ProbeInterval, c.ProbeTimeout = probeInterval, probeTimeout
	c.SuspicionMult, c.SuspicionMaxTimeoutMult = suspicionMult, suspicionMaxMult
	c.GossipInterval, c.PushPullInterval = gossipInterval, pushPullInterval
	c.TCPTimeout, c.DeadNodeReclaimTime = streamTimeout, deadReclaim
	c.EnableCompression = false // a bomb for the receiver, and descriptions are small
	c.Delegate, c.Events = delegate{m}, m.view
	c.Logger = newLog(m.logger, m.opts.Clock)
	list, err := memberlist.Create(c)
	if err != nil {
		return &ListenError{Address: m.opts.Bind, Cause: err}
	}
	m.list = list
	m.address = m.view.process(c.Name).GossipAddress // Create told the view of us
	return nil
}

// advertised is the IP address of Advertise; empty leaves the choice to memberlist.
func (m *Membership) advertised() string {
	if m.opts.Advertise == "" {
		return ""
	}
	targets := m.resolve(m.opts.Advertise)
	if len(targets) == 0 {
		m.logger.Warn("gossip: the advertised host does not resolve, the listening address is told instead", "host", m.opts.Advertise)
		return ""
	}
	host, _, _ := net.SplitHostPort(targets[0]) // resolve joined them
	return host
}

func (m *Membership) info() Info {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.info
}

func (m *Membership) setInfo(i Info) error {
	encoded, err := encodeInfo(i, m.boot)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.info, m.mu.encoded = i, encoded
	return nil
}

// Members lists the nodes that are alive, this one among them, sorted by id, one row per node.
func (m *Membership) Members() []Member { return m.view.members() }

// Member is the last that was heard of a node; Liveness is Unknown if nothing was.
func (m *Membership) Member(node api.NodeID) Member { return m.view.member(node) }

// Events yields changes, this node's own among them, until Close, which closes the channel. There
// is one channel, for one reader.
func (m *Membership) Events() <-chan Event { return m.events }

// Address implements peers.Resolver: the gRPC address of node's newest process, else where it was
// last seen, else what Learn told.
func (m *Membership) Address(node api.NodeID) (string, bool) { return m.view.address(node) }

// GossipAddress is where this node's gossip is reached.
func (m *Membership) GossipAddress() string { return m.address }

// Learn tells what the cluster map says, in place of what an earlier call told. Known nodes are
// looked for as those of Options.Join are.
func (m *Membership) Learn(known []Known) { m.view.learn(slices.Clone(known)) }

// Update changes what this node tells about itself and has it gossiped soon. Node and boot stay.
func (m *Membership) Update(change func(*Info)) error {
	info := m.info()
	change(&info)
	info.Node = m.opts.Info.Node
	if err := m.setInfo(info); err != nil {
		return err
	}
	select {
	case m.dirty <- struct{}{}:
	default:
	}
	return nil
}

// tellLoop hands changed descriptions to memberlist, which may wait while it does so.
func (m *Membership) tellLoop() {
	for {
		select {
		case <-m.stopped.Done():
			return
		case <-m.dirty:
			if err := m.list.UpdateNode(streamTimeout); err != nil {
				m.logger.Debug("gossip: nobody was told yet what changed here", "error", err)
			}
		}
	}
}

// Leave tells the others that this process stops and is expected back. It returns when one of them
// has been told or ctx ends, which is no loss: they will notice. Only Close is left to call then.
func (m *Membership) Leave(ctx context.Context) error {
	m.ending.Lock()
	defer m.ending.Unlock()
	if m.ending.closed || ctx.Err() != nil {
		return ctx.Err()
	}
	info := m.info()
	info.Restarting = true
	if err := m.setInfo(info); err != nil {
		return err
	}
	if err := m.list.UpdateNode(restartNoteBudget); err != nil {
		m.logger.Debug("gossip: nobody was told of the restart", "error", err)
	}
	left := make(chan error, 1)
	m.loops.Go(func() { left <- m.list.Leave(streamTimeout) })
	select {
	case err := <-left:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close stops gossip and waits for the goroutines. Unless it left, the node looks dead to others.
func (m *Membership) Close() error {
	m.ending.Lock()
	defer m.ending.Unlock()
	if m.ending.closed {
		return nil
	}
	m.ending.closed = true
	m.stop()
	m.loops.Wait()
	if err := m.list.Shutdown(); err != nil {
		return fmt.Errorf("stop gossip: %w", err)
	}
	return nil
}

// delegate is what memberlist asks for on its own goroutines; it must not wait.
type delegate struct{ m *Membership }

// NodeMeta implements memberlist.Delegate. The bytes are never changed once they are set.
func (d delegate) NodeMeta(int) []byte {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	return d.m.mu.encoded
}

// NotifyMsg implements memberlist.Delegate: we send no messages of our own.
func (delegate) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (delegate) MergeRemoteState([]byte, bool) {}
