package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/build"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/datadir"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/network"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/session"
	"github.com/lightning-db/lightning/internal/trace/otlp"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/membership"
	"github.com/lightning-db/lightning/meta"
	"github.com/lightning-db/lightning/meta/pledge"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/server"
	"github.com/lightning-db/lightning/server/http"
	"github.com/lightning-db/lightning/shard"
)

// node is one running node. Run makes, runs and closes it.
type node struct {
	// Set while the node is assembled, never written again.
	config    Config
	id        api.NodeID
	fs        vfs.FS
	network   network.Network
	clock     clock.Clock
	entropy   entropy.Source
	logger    *slog.Logger
	lock      io.Closer
	listeners listeners
	security  *security
	members   *membership.Membership
	pool      *peers.Pool
	host      *raft.Host
	storage   *raft.NodeStorage // the host closes it
	pledges   *pledge.Store
	follower  *meta.Follower
	router    *router.Router
	replicas  *replicas
	server    *server.Server
	faces     *faces
	profiles  *profiles      // nil without --pprof-socket
	traces    *otlp.Exporter // nil without --trace-endpoint

	mapReplica mapReplica // of the goroutine that follows the map, while join runs

	// Written by join, loaded by anyone.
	mastery mastery
	cluster atomic.Pointer[string] // id of the cluster that the node belongs to
	waiting atomic.Pointer[string] // why the cluster has not formed
	leaving atomic.Bool            // the node gives its leaderships away and then stops
	duties  *duties                // set by openRaft

	// leftBehind, of capacity 1, gets the id under which the node's cluster goes on without it.
	leftBehind chan string

	readiness readiness

	// failure is the first storage failure; failed is closed after it is stored.
	failure atomic.Pointer[error]
	failed  chan struct{}
}

// Run runs a node until ctx ends, which is no error, or until it cannot go on. ExitCode tells
// what kind of end an error is.
func Run(ctx context.Context, config Config, logs io.Writer) error {
	return RunOn(ctx, config, logs, network.TCP{})
}

// ErrCrash as the cause of the end of RunOn's context makes the node tell nobody that it stops.
// Together with a network that is cut first, the others see what they see of a killed process.
var ErrCrash = errors.New("the node crashes")

// RunOn is Run on another network than the machine's, for tests. Gossip still uses the machine's.
func RunOn(ctx context.Context, config Config, logs io.Writer, on network.Network) (err error) {
	logger, err := newLogger(config, logs)
	if err != nil {
		return &ConfigError{Problems: []string{err.Error()}}
	}
	n := &node{
		config:  config,
		fs:      vfs.OS(),
		network: on,
		clock:   clock.Real{},
		entropy: entropy.System(),
		logger:  logger,
		failed:  make(chan struct{}),

		leftBehind: make(chan string, 1),
	}
	config.limitMemory()
	defer func() {
		if stalled := n.stalled(); stalled != nil {
			err = stalled // a disk that does not answer would keep close waiting as well
			return
		}
		err = n.verdict(errors.Join(err, n.close()))
	}()
	if err := n.assemble(); err != nil {
		return err
	}
	return n.run(ctx)
}

// verdict is how the node ended. A storage failure is the cause of whatever else went wrong.
func (n *node) verdict(err error) error {
	if cause := n.failure.Load(); cause != nil {
		return &StorageError{*cause}
	}
	return err
}

// stalled is the failure if it was a disk that does not answer.
func (n *node) stalled() error {
	var stalled *raft.StalledError
	if cause := n.failure.Load(); cause != nil && errors.As(*cause, &stalled) {
		return &StalledError{*cause}
	}
	return nil
}

// fail is called by everything that writes, with the first write or fsync that failed.
func (n *node) fail(cause error) {
	if n.failure.CompareAndSwap(nil, &cause) {
		n.logger.Error("storage failed, the node stops", "error", cause)
		close(n.failed)
	}
}

func (n *node) storageError() error {
	if cause := n.failure.Load(); cause != nil {
		return *cause
	}
	return nil
}

// assemble opens and connects everything that needs no other node.
func (n *node) assemble() error {
	if err := n.openSecurity(); err != nil {
		return err
	}
	var err error
	if n.id, n.lock, err = datadir.Open(n.fs, n.config.DataDir, n.entropy); err != nil {
		return &DataDirError{n.config.DataDir, err}
	}
	if err := n.openTraces(); err != nil {
		return err
	}
	n.logger.Info("starting", "version", build.Current().Line("lightning-node"), "id", n.id, "data", n.config.DataDir)
	if n.listeners, err = listen(n.config, n.network); err != nil {
		return err
	}
	if n.config.PprofSocket != "" {
		if n.profiles, err = openProfiles(n.config.PprofSocket); err != nil {
			return err
		}
	}
	if n.pledges, err = pledge.OpenStore(n.fs, n.config.DataDir, n.id, n.config.Name, n.expect()); err != nil {
		return &DataDirError{n.config.DataDir, err}
	}
	if err := n.startGossip(); err != nil {
		return err
	}
	n.pool = peers.New(peers.Options{
		Network: n.network, Resolver: n.members, Credentials: n.security.peerCredentials(), Cluster: n.clusterID,
	})
	if err := n.openRaft(); err != nil {
		return &DataDirError{n.config.DataDir, err}
	}
	n.router = router.New()
	n.follower, err = meta.OpenFollower(meta.FollowerOptions{
		Dir: n.config.DataDir, FS: n.fs, Self: n.id, Peers: n.pool, Members: n.memberIDs, Logger: n.logger,
	})
	if err != nil {
		return &DataDirError{n.config.DataDir, err}
	}
	runtime, err := engine.NewRuntime(n.config.runtimeOptions())
	if err != nil {
		return &ConfigError{Problems: []string{err.Error()}}
	}
	n.replicas = n.newReplicas(runtime)
	metrics := http.NewMetrics(build.Version(), n.id, n.replicaStatus)
	metrics.Add(n.security.collectors()...)
	metrics.Add(logCollectors(n.storage)...)
	metrics.Add(n.replicas.rebuilds.collectors()...)
	metrics.Add(engineCollector{n.replicas.all}, runtimeCollector{runtime}, masterCollector{&n.mastery})
	metrics.Add(traceCollectors(n.traces)...)
	n.server = n.newServer(metrics)
	n.faces = n.newFaces(metrics)
	return nil
}

// openTraces begins to send traces, if there is a place for them.
func (n *node) openTraces() (err error) {
	if n.config.TraceEndpoint == "" {
		return nil
	}
	n.traces, err = otlp.Open(otlp.Options{
		Endpoint: n.config.TraceEndpoint, Ratio: n.config.TraceSample, Network: n.network,
		Node: string(n.id), Name: n.config.Name, Version: build.Version(), Logger: n.logger.With("part", "traces"),
	})
	return err
}

// traceGrace is how long a node that stops goes on to send its last traces.
const traceGrace = 2 * time.Second

// closeTraces sends the last traces.
func (n *node) closeTraces() error {
	ctx, cancel := context.WithTimeout(context.Background(), traceGrace)
	defer cancel()
	return n.traces.Close(ctx)
}

func (n *node) startGossip() error {
	stage, cluster := membership.Empty, ""
	state := n.pledges.State()
	switch {
	case state.Cluster != nil:
		stage, cluster = membership.Joined, state.Cluster.ID
		n.cluster.Store(&cluster)
	case state.Pledge != nil:
		stage = membership.Pledged
	}
	bind := net.JoinHostPort(listenHost(n.config.Host), strconv.Itoa(int(n.config.GossipPort)))
	var err error
	n.members, err = membership.Start(membership.Options{
		Info: membership.Info{
			Node: n.id, Name: n.config.Name, Zone: n.config.Zone, Expect: n.expect(), Stage: stage, Cluster: cluster,
			GRPCAddress: n.advertise(n.config.GRPCPort),
			RESPAddress: n.advertise(n.config.RESPPort),

			RESPClusterAddress: n.respClusterAddress(),
			HTTPAddress:        n.advertise(n.config.HTTPPort),
		},
		Bind:      bind,
		Advertise: n.config.AdvertiseHost,
		Join:      n.config.Join,
		Label:     n.config.ClusterName,
		Keys:      n.security.keys,
		Clock:     n.clock,
		Entropy:   n.entropy,
		Logger:    n.logger.With("part", "gossip"),
	})
	if err != nil {
		return &AddressError{Flag: "--gossip-port", Address: bind, Cause: err}
	}
	return nil
}

func (n *node) openRaft() error {
	storage, err := raft.NewNodeStorage(raft.NodeStorageOptions{
		Dir: n.config.DataDir + "/raft", FS: n.fs, Entropy: n.entropy,
	})
	if err != nil {
		return err
	}
	n.storage = storage
	n.host, err = raft.NewHost(raft.HostOptions{
		Node: n.id, Dir: n.config.DataDir, FS: n.fs, Storage: storage, Peers: n.pool,
		Clock: n.clock, Logger: n.logger, OnFailure: n.fail, StallLimit: n.config.DiskStallLimit,
		SnapshotRate: int64(n.config.SnapshotRate),
		Timing: raft.Timing{
			HeartbeatTimeout:  n.config.HeartbeatTimeout,
			SnapshotInterval:  n.config.SnapshotInterval,
			SnapshotThreshold: n.config.SnapshotThreshold,
			TrailingLogs:      n.config.TrailingLogs,
			TrailingBytes:     int64(n.config.TrailingBytes),
		},
	})
	if err != nil {
		return errors.Join(err, storage.Close())
	}
	n.duties = &duties{lead: func(nothing bool) { n.host.SetDraining(nothing) }}
	return nil
}

// newReplicas makes the place for the replicas of this node, whose engines share one memory.
func (n *node) newReplicas(runtime *engine.Runtime) *replicas {
	r := &replicas{
		self: n.id, dir: n.config.DataDir + "/shards", fs: n.fs, clock: n.clock, host: n.host, peers: replicaPeers{n.pool},
		members: replicaPeers{n.pool}.members,
		engine:  n.config.engineOptions(),
		logger:  n.logger, onFailure: n.fail,
		born: make(chan struct{}, 1),
	}
	r.engine.Runtime = runtime
	r.mu.open = make(map[api.ShardID]*shard.Shard)
	return r
}

func (n *node) newServer(metrics *http.Metrics) *server.Server {
	return server.New(server.Options{
		Node: n.id, Name: n.config.Name, Version: build.Version(),
		View: n.follower, Router: n.router, Peers: n.pool,
		Local: func(id api.ShardID) (server.Shard, bool) {
			s, ok := n.replicas.shard(id)
			return s, ok
		},
		Sessions:         session.New(n.entropy, n.clock),
		Replicas:         n.replicaStatus,
		Liveness:         n.liveness,
		Failed:           n.storageError,
		OnForward:        metrics.Forwarded,
		MaxInFlightBytes: int64(n.config.share(requestShare, 512<<20)),
		Entropy:          n.entropy,
		Clock:            n.clock,
		Logger:           n.logger,
		Tracer:           n.traces.Tracer(),
	})
}

func (n *node) memberIDs() []api.NodeID {
	var ids []api.NodeID
	for _, m := range n.members.Members() {
		ids = append(ids, m.Node)
	}
	return ids
}

func (n *node) advertise(port uint16) string {
	return net.JoinHostPort(n.config.AdvertiseHost, strconv.Itoa(int(port)))
}

// clusterID is empty while the node belongs to no cluster.
func (n *node) clusterID() string {
	if id := n.cluster.Load(); id != nil {
		return *id
	}
	return ""
}

// respClusterAddress is empty without that listener.
func (n *node) respClusterAddress() string {
	if n.config.RESPClusterPort == 0 {
		return ""
	}
	return n.advertise(n.config.RESPClusterPort)
}

// run serves until ctx ends, the disk fails, a face breaks, or the cluster refuses the node.
func (n *node) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	broken := n.faces.serve()
	gossip := make(chan struct{})
	go func() { defer close(gossip); n.watchGossip() }()
	files := make(chan struct{})
	go func() { defer close(files); n.watchSecurity(ctx) }()
	joined := make(chan error, 1)
	go func() { joined <- n.join(ctx) }()

	var end error
	select {
	case <-ctx.Done():
		n.logger.Info("stopping")
		n.handOver(errors.Is(context.Cause(ctx), ErrCrash))
		end = <-joined
	case <-n.failed:
		if n.stalled() != nil {
			return nil // RunOn says so
		}
		cancel()
		end = <-joined
	case err := <-broken:
		cancel()
		<-joined
		end = err
	case end = <-joined:
	}
	n.stopServing(errors.Is(context.Cause(ctx), ErrCrash))
	<-gossip
	if errors.Is(end, context.Canceled) {
		return nil
	}
	return end
}

const (
	leaveLimit = time.Second
	// handOverLimit is long enough for a second try at every group; a transfer takes milliseconds, or
	// an election timeout if it fails.
	handOverLimit = 5 * time.Second
)

// handOver gives away every leadership of this node while it still serves: what clients send
// meanwhile is answered, or forwarded to the new leader. A node that crashes does nothing of it.
func (n *node) handOver(crash bool) {
	n.leaving.Store(true)
	if crash {
		return
	}
	n.duties.leave() // what it is elected for meanwhile it gives away as well
	limit, cancel := context.WithTimeout(context.Background(), handOverLimit)
	defer cancel()
	go func() { // a disk that fails now ends the wait
		select {
		case <-n.failed:
			cancel()
		case <-limit.Done():
		}
	}()
	if err := n.host.HandOver(limit); err != nil {
		n.logger.Warn("some groups are left without a leader for a moment", "error", err)
	}
}

// stopServing ends what others see of this node, clients first, so that what they sent is
// answered while the groups still work. A node that crashes does not say goodbye.
func (n *node) stopServing(crash bool) {
	leave, cancel := context.WithTimeout(context.Background(), leaveLimit)
	defer cancel()
	if err := errors.Join(n.faces.stopClients(), n.server.Close()); err != nil {
		n.logger.Warn("stop serving", "error", err)
	}
	if !crash {
		if err := n.members.Leave(leave); err != nil {
			n.logger.Debug("leave gossip", "error", err)
		}
	}
	if err := n.members.Close(); err != nil {
		n.logger.Warn("stop gossip", "error", err)
	}
}

// close closes what assemble and join opened, the last first. Parts that were never opened are nil.
func (n *node) close() error {
	var errs []error
	closing := func(what string, part interface{ Close() error }) {
		if err := part.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", what, err))
		}
	}
	if n.host != nil {
		closing("raft", n.host)
	}
	if n.faces != nil {
		closing("servers", n.faces)
	}
	n.listeners.close()
	if n.profiles != nil {
		closing("profiles", n.profiles)
	}
	if n.follower != nil {
		closing("map follower", n.follower)
	}
	if n.replicas != nil {
		if err := n.replicas.close(); err != nil {
			errs = append(errs, err)
		}
	}
	if m := n.mapReplica.open; m != nil {
		closing("meta replica", m)
	}
	if n.members != nil {
		closing("gossip", n.members)
	}
	if n.pool != nil {
		n.pool.Close()
	}
	if err := n.closeTraces(); err != nil {
		errs = append(errs, fmt.Errorf("close traces: %w", err))
	}
	if n.lock != nil {
		closing("data directory", n.lock)
	}
	return errors.Join(errs...)
}
