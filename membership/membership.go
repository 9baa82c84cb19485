package membership

import (
	"context"
	"errors"
	"log/slog"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/entropy"
)

// Options configures a Membership. Nothing of it changes while it runs; Info changes by Update.
type Options struct {
	// Info is what this node tells about itself. Node, Name and GRPCAddress are required.
	Info Info
	// Bind is the address to listen on, host:port, host an IP address. Port 0 picks one.
	Bind string
	// Advertise is the host, an IP address or a DNS name, under which others reach this node's
	// gossip. Default: the host of Bind.
	Advertise string
	// Join lists gossip addresses, host:port or DNS names, asked again for ever. A name without a
	// port gets the port of Bind.
	Join []string
	// Label keeps clusters apart: nodes with different labels do not talk. At most 255 bytes.
	Label string
	// Key encrypts gossip: 16, 24 or 32 bytes. Default: none.
	Key []byte
	// Clock and Entropy name this start of the process. Default: the machine's.
	Clock   clock.Clock
	Entropy entropy.Source
	// Logger is required.
	Logger *slog.Logger
}

// Membership is this node's view of who is there. Safe for concurrent use.
type Membership struct{}

// Start listens, and begins to join in the background. The error is the port's or the options'.
func Start(o Options) (*Membership, error) { return nil, errors.ErrUnsupported }

// Members lists the nodes that are alive, this one among them, sorted by id, one row per node.
func (m *Membership) Members() []Member { return nil }

// Member is the last that was heard of a node; Liveness Unknown if nothing was.
func (m *Membership) Member(node api.NodeID) Member { return Member{} }

// Events yields changes until Close, which closes the channel. There is one channel: one reader.
func (m *Membership) Events() <-chan Event { return nil }

// Changed returns a channel that is closed at the next change of Members.
func (m *Membership) Changed() <-chan struct{} { return nil }

// Address implements peers.Resolver: the gRPC address of node's newest process, else where it was
// last seen, else what Learn said.
func (m *Membership) Address(node api.NodeID) (string, bool) { return "", false }

// GossipAddress is where this node's gossip is reached.
func (m *Membership) GossipAddress() string { return "" }

// Learn tells what the cluster map says. It replaces what an earlier call told. The nodes are
// looked for as those of Options.Join are.
func (m *Membership) Learn(known []Known) {}

// Update changes what this node tells about itself and has it gossiped. It does not wait.
func (m *Membership) Update(change func(*Info)) error { return nil }

// Leave tells the others that this process stops and is expected back. It returns when one of
// them has been told or ctx ends, which is no loss: they will notice.
func (m *Membership) Leave(ctx context.Context) error { return nil }

// Close stops gossip and waits for the goroutines. The node then looks dead to others unless it left.
func (m *Membership) Close() error { return nil }
