package shard

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/router"
)

// Options are the settings of one replica of a shard. ID, Incarnation, Dir, Arc and Epoch
// are required. Nothing in it may change while the shard is open.
type Options struct {
	// ID names the shard; the Raft group has the same number.
	ID api.ShardID
	// Incarnation is this replica's, from 1 on.
	Incarnation uint64
	// Dir belongs to this replica alone; it is made if it is missing. It must be on the same
	// file system as the host's directory: installing a checkpoint renames it into place.
	Dir string
	// Arc and Epoch initialise a shard that has applied nothing yet, through its log, once.
	// Afterwards the shard's own state counts and these are not looked at.
	Arc   router.Arc
	Epoch api.Epoch
	// Voters is the configuration that an empty group begins with. Only a replica that is one of them begins it; any
	// other that is empty waits for its leader. Empty for a shard that was not born with replicas.
	Voters []raft.ReplicaID
	// VotesEmpty lets a replica of a child vote that its parent's replica did not make, because it went past the split by
	// a snapshot (raft.GroupOptions).
	VotesEmpty bool
	// PreferredLeader is the node that should lead the shard while nothing speaks against it; empty
	// for none.
	PreferredLeader api.NodeID
	// Engine are the settings of the engine. FS, Logger, OnFailure and RetainVersions are set
	// by Open.
	Engine engine.Options
	// FS is where the files live. Default: the machine's file system.
	FS vfs.FS
	// Clock is where a leader takes its time from. Default: the machine's clock.
	Clock clock.Clock
	// Stopwatch measures how old a proof of freshness is. It need not agree with other clocks.
	// Default: the machine's clock, whose readings are monotonic.
	Stopwatch clock.Clock
	// Splitter makes room for the other half when the shard is split. Default: this replica makes no child.
	Splitter Splitter
	// Peers reaches the other replicas, to compare what they hold. Default: nobody is asked.
	Peers Peers
	// UpkeepInterval is how often a leader looks whether expired or overwritten data, or idle
	// sessions, wait for shard time to move, and compares the replicas. Default 10 s: an idle shard then costs at most
	// one small entry in that time, and data leaves the disk within twice of it.
	UpkeepInterval time.Duration
	// ClusterVersion is what entries that are proposed now may be of: the lowest version that every node of the cluster knows. It is called
	// for each entry. Default: 1.
	ClusterVersion func() uint32
	// Logger receives what an operator may want to know, never keys or values. Default: silence.
	Logger *slog.Logger
	// OnFailure is called with the cause when the replica refuses further writes. It must return
	// soon and not call Close.
	OnFailure func(error)
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Stopwatch == nil {
		o.Stopwatch = clock.Real{}
	}
	if o.UpkeepInterval == 0 {
		o.UpkeepInterval = 10 * time.Second
	}
	if o.ClusterVersion == nil {
		o.ClusterVersion = func() uint32 { return 1 }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OnFailure == nil {
		o.OnFailure = func(error) {}
	}
	return o
}

// Validate reports every setting that cannot work.
func (o Options) Validate() error {
	var problems []error
	problem := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("shard options: "+format, args...))
	}
	if o.ID == 0 {
		problem("no shard id")
	}
	if o.Incarnation == 0 {
		problem("no incarnation")
	}
	if o.Dir == "" {
		problem("no directory")
	}
	if err := o.Arc.Validate(); err != nil {
		problem("%w", err)
	}
	if o.Epoch == 0 {
		problem("no epoch")
	}
	if o.UpkeepInterval < 0 {
		problem("upkeep interval %s is negative", o.UpkeepInterval)
	}
	return errors.Join(problems...)
}
