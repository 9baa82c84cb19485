package server

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/backup/record"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/trace"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/shard"
)

// Shard is a replica on this node; *shard.Shard implements it.
type Shard interface {
	Apply(ctx context.Context, c shard.Command) (api.Result, error)
	// ApplyInOrder applies the commands of one caller. Behind one that is to be sent again none is executed.
	ApplyInOrder(ctx context.Context, commands []shard.Command) []shard.Outcome
	Get(ctx context.Context, epoch api.Epoch, ns api.Namespace, keys [][]byte) ([]api.Item, error)
	Scan(ctx context.Context, epoch api.Epoch, r api.Range) (shard.Page, error)
	// ReadParts reads some parts of a value that a read on any replica has found.
	ReadParts(ctx context.Context, value *api.Stored, from, count uint32) ([]byte, error)
	Count(ctx context.Context, epoch api.Epoch, ns api.Namespace) (uint64, error)
	// Leader is who leads the shard as this replica believes, empty when unknown.
	Leader() (api.NodeID, api.Term)
	// Backup streams the rows that are live at one point of the log.
	Backup(ctx context.Context, begin func(shard.Cut) error, add func(*record.Record) error) error
	Prover
}

// Prover is what a replica needs to let any of them answer reads that may be stale.
type Prover interface {
	Prove(ctx context.Context) (shard.Proof, error)
	GetStale(ctx context.Context, epoch api.Epoch, ns api.Namespace, keys [][]byte, s shard.Staleness) ([]api.Item, error)
	ScanStale(ctx context.Context, epoch api.Epoch, r api.Range, s shard.Staleness) (shard.Page, error)
}

// View is the cluster map as this node knows it; *meta.Follower implements it.
type View interface {
	// Map is the newest map, nil before the cluster has formed.
	Map() *pb.ClusterMap
	// Wait returns a map whose revision is above after, when there is one.
	Wait(ctx context.Context, after uint64) (*pb.ClusterMap, error)
	// Master is the leader of the meta group, empty when unknown.
	Master() api.NodeID
}

// Connector gives connections to other nodes; *peers.Pool implements it.
type Connector interface {
	Conn(node api.NodeID, lane peers.Lane) (*grpc.ClientConn, error)
}

// Sessions gives out request ids; *session.Allocator implements it.
type Sessions interface {
	Begin() (id api.RequestID, release func())
}

// Options are the settings of a Server. Fields without a default are required. Nothing in it
// changes while the server runs.
type Options struct {
	// Node, Name and Version say who this is.
	Node    api.NodeID
	Name    string
	Version string

	View   View
	Router *router.Router
	Peers  Connector
	// Local finds the replica that this node holds of a shard.
	Local    func(api.ShardID) (Shard, bool)
	Sessions Sessions

	// Replicas describes all local replicas, for Status and Ready. Default: none.
	Replicas func() []*pb.ReplicaStatus
	// Liveness tells what gossip believes of each node, for Status. Default: nothing.
	Liveness func() []*pb.NodeStatus
	// Failed is the error that stopped this node's storage, nil while it is well. Default: well.
	Failed func() error
	// OnForward is told of every request that was sent to another node and how it ended; code is
	// empty for success. It must not block. Default: nobody is told.
	OnForward func(op string, code api.Code)

	// Timeout is the time of a request whose caller set no deadline. Default 5 s: several times
	// the longest failover, and short enough for a person to wait.
	Timeout time.Duration
	// AttemptTimeout is how long one node may take to answer before another one is tried.
	// Default 2 s: a node that has been silent for so long has been replaced as leader.
	AttemptTimeout time.Duration
	// MaxInFlightBytes bounds the memory of the requests that are being worked on; beyond it
	// requests are refused as OVERLOADED. Default 512 MiB: eight of the largest batches.
	MaxInFlightBytes int64
	// MaxInFlight bounds the number of requests that are being worked on. Default 16384.
	MaxInFlight int64

	// Tracer goes on with the traces of reads that other nodes send. Default: none.
	Tracer *trace.Tracer

	Entropy entropy.Source
	Clock   clock.Clock  // default: the machine's
	Logger  *slog.Logger // default: silence
}

func (o Options) withDefaults() Options {
	if o.Replicas == nil {
		o.Replicas = func() []*pb.ReplicaStatus { return nil }
	}
	if o.Liveness == nil {
		o.Liveness = func() []*pb.NodeStatus { return nil }
	}
	if o.Failed == nil {
		o.Failed = func() error { return nil }
	}
	if o.OnForward == nil {
		o.OnForward = func(string, api.Code) {}
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.AttemptTimeout == 0 {
		o.AttemptTimeout = 2 * time.Second
	}
	if o.MaxInFlightBytes == 0 {
		o.MaxInFlightBytes = 512 << 20
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 16384
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Server runs operations. Safe for concurrent use. It implements api.KV.
type Server struct {
	// Set by New, never written again.
	opts    Options
	gate    *gate
	cursors *cursorTable
	jitter  *jitter
	// fetching has an element for each long answer on its way.
	fetching chan struct{}
	// staging has an element for each part of a value on its way.
	staging chan struct{}
	// stagedRequests has one for each request whose parts are being brought.
	stagedRequests chan struct{}
	// waitingToStage are the requests that wait to be one of them.
	waitingToStage atomic.Int64
	forwards       forwarder
	reads          readForwarder
	// answering are the readers of the streams on which other nodes read here.
	answering sync.WaitGroup
}

// maxFetching bounds the long answers that are read at a time, so that they leave time
// for what is short: four of api.MaxWholeBytes fill a link of 10 Gbit/s for 30 ms.
const maxFetching = 4

var _ api.KV = (*Server)(nil)

// New makes a Server. It starts no goroutine.
func New(o Options) *Server {
	o = o.withDefaults()
	return &Server{
		opts:     o,
		gate:     newGate(o.MaxInFlight, o.MaxInFlightBytes),
		cursors:  newCursorTable(maxCursorCount, o.Entropy),
		jitter:   newJitter(o.Entropy),
		fetching: make(chan struct{}, maxFetching),
		staging:  make(chan struct{}, maxStaging),

		stagedRequests: make(chan struct{}, maxStagedRequests),
	}
}

// Close refuses new operations, waits a moment for those that run, cancels the rest and waits
// for them.
func (s *Server) Close() error {
	s.gate.close(closeGrace)
	s.forwards.carriers.Wait()
	s.reads.loops.Wait()
	s.answering.Wait()
	return nil
}

// closeGrace lets requests that are being committed end with an answer; a request that needs
// longer is waiting for a leader that this node will not see any more.
const closeGrace = 2 * time.Second
