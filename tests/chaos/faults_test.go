package chaos

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
)

// stage is a cluster under faults.
type stage struct {
	*cluster.Cluster
	t     *testing.T
	rng   *rand.Rand
	disks []*cluster.LoopDisk // of the faults that cut the power
	dirs  []string            // of the faults that fill disks

	// Set for each strike.
	leader *cluster.Node // leads most shards
	other  *cluster.Node // any other
	struck *cluster.Node // the one that the fault hit; nil is all, or the network between all
	tracer *cluster.Injection
}

// medium is what the data directories are on.
type medium int

const (
	anyDisk medium = iota
	loopDisk
	smallTmpfs
)

// fault is one way to break a cluster. Strike and heal act on the stage; strike returns when the fault is in force.
type fault struct {
	name  string
	nodes int // 0 is three
	on    medium
	// moves: the leader cannot go on leading, so another must take over.
	moves bool
	// stops: no majority is left while it lasts, so nothing can be acknowledged.
	stops  bool
	strike func(s *stage)
	// lasts is how long it stays after leaders have moved; healing follows.
	lasts time.Duration
	heal  func(s *stage)
}

func healNetwork(s *stage) { s.Heal() }
func runAgain(s *stage)    { s.struck.Restart() }

// faults are the rows of the matrix.
var faults = []fault{
	{name: "leader-killed", moves: true, lasts: 2 * time.Second, heal: runAgain,
		strike: func(s *stage) { s.leader.Kill() }},
	{name: "random-killed", lasts: 2 * time.Second, heal: runAgain,
		strike: func(s *stage) { s.struck = s.Nodes[s.rng.IntN(len(s.Nodes))]; s.struck.Kill() }},
	{name: "all-killed", stops: true, heal: startAll,
		strike: func(s *stage) { s.struck = nil; s.KillAll() }},
	{name: "leader-stopped", moves: true, lasts: time.Second, heal: runAgain,
		strike: func(s *stage) { s.leader.Stop() }},
	{name: "leader-paused", moves: true, lasts: 3 * time.Second, heal: func(s *stage) { s.leader.Resume() },
		strike: func(s *stage) { s.leader.Pause() }},
	{name: "short-pauses", lasts: 2 * time.Second, heal: func(s *stage) { s.leader.Resume() }, strike: pauseShortly},
	{name: "leader-cut-off", moves: true, lasts: 3 * time.Second, heal: healNetwork,
		strike: func(s *stage) { s.Isolate(s.leader) }},
	{name: "one-way-cut", moves: true, lasts: 3 * time.Second, heal: healNetwork, strike: cutOneWay},
	{name: "partial-cut", lasts: 3 * time.Second, heal: healNetwork,
		strike: func(s *stage) { s.Cut(s.leader, s.other) }},
	{name: "ring", nodes: 5, lasts: 3 * time.Second, heal: healNetwork, strike: cutToRing},
	{name: "slow-sync", lasts: 4 * time.Second, heal: endSlowness,
		strike: func(s *stage) { s.tracer = s.leader.SlowSyncs(200 * time.Millisecond) }},
	{name: "failed-sync", moves: true, lasts: time.Second, heal: runAgain, strike: failSyncs},
	{name: "full-disk", on: smallTmpfs, moves: true, lasts: time.Second, strike: fillDisk, heal: func(s *stage) {
		cluster.ReleaseDisk(s.t, s.dirs[s.leader.Index])
		s.leader.Restart()
	}},
	{name: "power-cut", on: loopDisk, moves: true, lasts: time.Second, heal: runAgain,
		strike: func(s *stage) { s.cutPower(s.leader) }},
	{name: "power-cut-of-all", on: loopDisk, stops: true, heal: startAll, strike: cutPowerOfAll},
	{name: "clock-jump", moves: true, lasts: 2 * time.Second, strike: jumpClock, heal: func(s *stage) { s.leader.ShiftClock(0) }},
	{name: "memory-limit", lasts: 2 * time.Second, strike: limitMemory, heal: func(s *stage) {
		s.leader.Kill()
		s.leader.Restart()
	}},
}

func startAll(s *stage) { s.StartAll(recovery) }

// pauseShortly stops the leader again and again for less, about as long, and more than an election takes.
func pauseShortly(s *stage) {
	for _, d := range []time.Duration{100, 400, 700} {
		s.leader.Pause()
		cluster.Wait(s.t.Context(), d*time.Millisecond)
		s.leader.Resume()
		cluster.Wait(s.t.Context(), 100*time.Millisecond)
	}
}

// cutOneWay lets the leader hear nobody, or nobody hear the leader.
func cutOneWay(s *stage) {
	deaf := s.rng.IntN(2) == 0
	for _, o := range s.Others(s.leader) {
		if deaf {
			s.CutOneWay(o, s.leader)
		} else {
			s.CutOneWay(s.leader, o)
		}
	}
}

// cutToRing leaves each node only its two neighbours, so that every majority is another one.
func cutToRing(s *stage) {
	s.struck = nil
	n := len(s.Nodes)
	for i := range n {
		s.Cut(s.Nodes[i], s.Nodes[(i+2)%n])
	}
}

func endSlowness(s *stage) {
	s.tracer.End()
	if s.tracer.Hits() == 0 {
		s.t.Error("no sync was slowed down")
	}
}

// failSyncs ends with the end of the leader, which must be by its own decision.
func failSyncs(s *stage) {
	in := s.leader.FailSyncs()
	defer in.End()
	if code := s.leader.WaitExit(2 * recovery); code != exitStorage {
		s.t.Errorf("%s ended with code %d after a failed sync, want %d:\n%s", s.leader.Name, code, exitStorage, s.leader.LogTail(2000))
	}
	if in.Hits() == 0 {
		s.t.Error("no sync failed")
	}
}

// exitStorage is the exit code of a node whose disk fails, see internal/node.
const exitStorage = 6

func fillDisk(s *stage) {
	cluster.FillDisk(s.t, s.dirs[s.leader.Index], 0)
	if code := s.leader.WaitExit(2 * recovery); code != exitStorage {
		s.t.Errorf("%s ended with code %d on a full disk, want %d:\n%s", s.leader.Name, code, exitStorage, s.leader.LogTail(2000))
	}
}

// cutPower ends the node and loses what it did not sync, and gives it its disk back.
func (s *stage) cutPower(n *cluster.Node) {
	s.disks[n.Index].CutPower()
	n.Kill()
	s.disks[n.Index].PowerOn()
}

func cutPowerOfAll(s *stage) {
	s.struck = nil
	for _, d := range s.disks {
		d.CutPower()
	}
	s.KillAll()
	for _, d := range s.disks {
		d.PowerOn()
	}
}

// jumpClock sends the leader's clock an hour ahead or back: it must not lead by it. The clock of one at a time: by design
// nobody leads while no two clocks agree.
func jumpClock(s *stage) {
	jump := time.Hour
	if s.rng.IntN(2) == 0 {
		jump = -jump
	}
	s.leader.ShiftClock(jump)
}

// limitMemory leaves the leader so little that it is slowed down by reclaim, or killed. One that does with what it has,
// because it has little to do, gets less and less.
func limitMemory(s *stage) {
	const most, least = 4 << 20, 64 << 10
	group, err := s.leader.LimitMemory(most)
	if err != nil {
		s.t.Skip(err)
	}
	limit, checks := int64(most), 0
	cluster.Eventually(s.t, recovery, "the leader runs into its memory limit", func() error {
		if group.Hit() || !s.leader.Running() {
			return nil
		}
		if checks++; checks%checksOfOneLimit == 0 && limit > least {
			limit /= 2
			if err := group.Limit(limit); err != nil {
				s.t.Logf("limit of %d bytes: %v", limit, err)
			}
		}
		return fmt.Errorf("it does not")
	})
}

// checksOfOneLimit is how often limitMemory looks before it lowers the limit.
const checksOfOneLimit = 20

// setStage starts the cluster that a fault needs.
func setStage(t *testing.T, f fault, seed uint64, args ...string) *stage {
	t.Helper()
	s := &stage{t: t, rng: rand.New(rand.NewPCG(seed, 7))}
	o := cluster.Options{Netns: true, Nodes: max(3, f.nodes), Args: args, LogDir: t.TempDir(), ReadyWithin: 2 * recovery}
	switch f.on {
	case loopDisk:
		for range o.Nodes {
			s.disks = append(s.disks, cluster.NewLoopDisk(t, 1<<30))
		}
		o.Dir = func(i int) string { return filepath.Join(s.disks[i].Dir, "node") }
	case smallTmpfs:
		for range o.Nodes {
			s.dirs = append(s.dirs, cluster.MountTmpfs(t, "512m"))
		}
		o.Dir = func(i int) string { return filepath.Join(s.dirs[i], "node") }
	}
	s.Cluster = cluster.Start(t, o)
	return s
}
