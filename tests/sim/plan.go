package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft"
)

// Plan is everything that a seed decides: the cluster, the faults and their rates, the clients. Two runs of
// one seed have the same plan and not the same schedule, which the Go runtime draws by itself.
type Plan struct {
	Seed          uint64
	Nodes, Shards int
	Timing        raft.Timing
	// Delay and Jitter are of a message, one way.
	Delay, Jitter time.Duration
	// Sync is how long a sync of a disk takes.
	Sync time.Duration
	// Safety is how long faults come.
	Safety time.Duration
	// Faults are those that this history has; Calm is the mean time between two, Lasting of one.
	Faults        []string
	First         string // the fault that comes first and is aimed at a leader
	Calm, Lasting time.Duration
	// SegmentBytes is the size of a file of the log that the shards share.
	SegmentBytes int64
	// Keep is what a crash leaves of unsynced bytes; Silent says that others are not told.
	Keep vfs.Keep
	// Clients of each workload, the time between two requests of one, and of a request.
	Clients        int
	Pause, Timeout time.Duration
	// Reads is the share of reads, of 100.
	Reads int
	// Moves says that replicas are replaced by others all the time, Splits that shards are split.
	Moves, Splits bool
}

// NewPlan draws the plan of a seed.
func NewPlan(seed uint64) Plan {
	rng := rand.New(rand.NewPCG(seed, 0))
	between := func(low, high time.Duration) time.Duration { return low + time.Duration(rng.Int64N(int64(high-low))) }
	heartbeat := between(200*time.Millisecond, time.Second)
	p := Plan{
		Seed: seed, Nodes: 3, Shards: 1 + rng.IntN(3),
		Timing: raft.Timing{
			HeartbeatTimeout: heartbeat, SnapshotInterval: between(500*time.Millisecond, 5*time.Second),
			SnapshotThreshold: 10 + rng.Uint64N(400), TrailingLogs: rng.Uint64N(200),
			MaxAppendEntries: 1 << rng.IntN(8),
		},
		Delay: between(100*time.Microsecond, 10*time.Millisecond), Sync: between(0, 5*time.Millisecond),
		Safety: between(8*time.Second, 16*time.Second),
		Calm:   between(200*time.Millisecond, 3*time.Second), Lasting: between(300*time.Millisecond, 5*time.Second),
		SegmentBytes: 16 << 10 << rng.IntN(5),
		Keep:         [...]vfs.Keep{vfs.KeepNone, vfs.KeepRandom, vfs.KeepAll}[rng.IntN(3)],
		Clients:      2 + rng.IntN(4), Pause: between(8*time.Millisecond, 60*time.Millisecond),
		Timeout: between(500*time.Millisecond, 4*time.Second), Reads: 20 + rng.IntN(60),
	}
	p.Jitter = between(0, 3*p.Delay)
	if rng.IntN(3) == 0 {
		p.Sync = between(5*time.Millisecond, 50*time.Millisecond) // slower than the network, as most disks are
	}
	if rng.IntN(5) == 0 {
		p.Nodes = 5
	}
	// A few kinds of faults together find what all of them together hide.
	names := faultNames()
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	p.Faults = names[:2+rng.IntN(4)]
	aimed := []string{"isolate leader", "crash leader", "pause leader", "one way leader"}
	p.First = aimed[rng.IntN(len(aimed))]
	if rng.IntN(3) == 0 {
		p = p.withMoves()
	} else {
		p.Splits = rng.IntN(2) == 0
	}
	return p
}

// withMoves lets replicas move. With very few entries in a message a replica follows at less than the speed of the clients,
// and rightly never votes.
func (p Plan) withMoves() Plan {
	p.Moves, p.Timing.MaxAppendEntries = true, max(p.Timing.MaxAppendEntries, 32)
	return p
}

func (p Plan) has(fault string) bool { return p.First == fault || slices.Contains(p.Faults, fault) }

// String prints what matters of the plan in one line.
func (p Plan) String() string {
	return fmt.Sprintf("-sim.seed=%d: %d nodes, %d shards, heartbeat %v, delay %v+%v, sync %v, %v with faults (%s) each %v for %v, crashes keep %d, %d clients each %v, replicas move: %t, shards split: %t",
		p.Seed, p.Nodes, p.Shards, p.Timing.HeartbeatTimeout.Round(time.Millisecond), p.Delay.Round(time.Microsecond), p.Jitter.Round(time.Microsecond),
		p.Sync.Round(time.Microsecond), p.Safety.Round(time.Millisecond), p.First+"; "+strings.Join(p.Faults, ", "), p.Calm.Round(time.Millisecond),
		p.Lasting.Round(time.Millisecond), p.Keep, p.Clients, p.Pause.Round(time.Millisecond), p.Moves, p.Splits)
}
