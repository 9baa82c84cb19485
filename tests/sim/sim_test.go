package sim

import (
	"flag"
	"fmt"
	"log/slog"
	oldrand "math/rand"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lightning-db/lightning/internal/testkit"
)

var (
	seedFlag  = flag.Uint64("sim.seed", 0, "seed of the one plan that every history has; 0 draws one for each")
	histories = flag.Int("sim.histories", 200, "histories to make")
	drawFlag  = flag.Uint64("sim.draw", 0, "seed that the plans are drawn by, so that a run repeats those of another; 0 chooses one")
	replay    = flag.Bool("sim.replay", false, "run as repeatably as the build allows, see sim/replay")
	only      = flag.String("sim.only", "", "the one kind of fault that every plan has")
	without   = flag.String("sim.without", "", "a kind of fault to leave out")
	moves     = flag.Bool("sim.moves", false, "let every plan replace replicas")
	splits    = flag.Bool("sim.splits", false, "let every plan split shards, and none replace replicas")
	hangLimit = flag.Duration("sim.hang", 5*time.Minute, "real time after which a history counts as hanging")
	verbose   = flag.Bool("sim.verbose", false, "print every history and the log of its nodes")
)

// TestMain lets garbage be: histories are short, and collecting took a fifth of their time.
func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(400)
	if *replay {
		prepareReplay()
	}
	os.Exit(m.Run())
}

// prepareReplay removes what differs between two runs of a program that tests/sim/replay built: collections of garbage,
// the seed that the Raft library draws, and threads that are made in the middle, which moves addresses.
func prepareReplay() {
	debug.SetGCPercent(-1)
	//lint:ignore SA1019 the library uses this source, and seeds it at random
	oldrand.Seed(1)
	var threads sync.WaitGroup
	for range 12 {
		threads.Go(func() {
			pause := syscall.NsecToTimespec(int64(100 * time.Millisecond))
			_ = syscall.Nanosleep(&pause, nil) // a system call keeps its thread
		})
	}
	threads.Wait()
}

// TestHistoriesUnderFaultsAreCorrect is the simulation.
func TestHistoriesUnderFaultsAreCorrect(t *testing.T) {
	began := time.Now()
	var done, acknowledged, hits, crashes, virtual atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d histories, %d operations acknowledged, %d faults that hit a leader, %d crashes, %v of virtual time in %v",
			done.Load(), acknowledged.Load(), hits.Load(), crashes.Load(), time.Duration(virtual.Load()).Round(time.Second), time.Since(began).Round(time.Second))
	})
	work := make(chan uint64)
	for range runtime.GOMAXPROCS(0) {
		t.Run("worker", func(t *testing.T) {
			t.Parallel()
			for seed := range work {
				r := simulate(t, planOf(seed))
				done.Add(1)
				acknowledged.Add(int64(r.Acknowledged))
				hits.Add(int64(r.Hits))
				crashes.Add(int64(r.Crashes))
				virtual.Add(int64(r.Virtual))
				judge(t, r)
			}
		})
	}
	draw := *drawFlag
	if draw == 0 {
		draw = rand.Uint64()
	}
	t.Logf("plans are drawn by -sim.draw=%d", draw)
	seeds := rand.New(rand.NewPCG(draw, 0))
	go func() {
		defer close(work)
		for range *histories {
			if t.Failed() {
				return // the first violation is worth more than the next ones
			}
			seed := *seedFlag
			if seed == 0 {
				seed = seeds.Uint64()
			}
			work <- seed
		}
	}()
}

// planOf is the plan of a seed, with the faults that the flags want.
func planOf(seed uint64) Plan {
	plan := NewPlan(seed)
	plan.Faults = slices.DeleteFunc(plan.Faults, func(name string) bool { return name == *without })
	if *moves {
		plan = plan.withMoves()
	}
	if *splits {
		plan.Moves, plan.Splits = false, true
	}
	if *only != "" {
		plan.First, plan.Faults = *only, []string{*only}
	}
	return plan
}

// simulate makes one history in a bubble of its own.
func simulate(t *testing.T, plan Plan) (r Result) {
	logger := slog.New(slog.DiscardHandler)
	if *verbose {
		logger = testkit.Logger(t)
	}
	began := time.Now()
	// A history takes about half a second. One that hangs, because a goroutine spins or waits for what no
	// bubble can see, would keep its seed to itself.
	hang := time.AfterFunc(*hangLimit, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("the history hangs: %v", plan))
	})
	defer hang.Stop()
	name := fmt.Sprint(plan.Seed)
	t.Run(name, func(t *testing.T) {
		inBubble(t, func(*testing.T) { r = Run(plan, logger) })
	})
	if *verbose || *replay {
		t.Logf("%v\n  took %v", r, time.Since(began).Round(time.Millisecond))
	}
	return r
}

func judge(t *testing.T, r Result) {
	t.Helper()
	switch {
	case r.Err != nil:
		t.Errorf("%v\n  %v", r, r.Err)
	case r.Acknowledged < minAcknowledged:
		t.Errorf("%v\n  too few operations to prove anything", r)
	case r.Hits == 0:
		t.Errorf("%v\n  no fault hit a leader", r)
	}
}
