package sim

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/tests/history"
)

// controlLimit is how many histories CI makes: a control has to be found within them.
const controlLimit = 200

// findViolation makes histories until one is judged wrong, and fails the test if none is.
func findViolation(t *testing.T, plan func() Plan, spoil func(*Cluster), wrong func(error) bool) {
	t.Helper()
	began := time.Now()
	for i := range controlLimit {
		p := plan()
		var r Result
		t.Run("history", func(t *testing.T) {
			inBubble(t, func(*testing.T) { r = run(p, slog.New(slog.DiscardHandler), spoil) })
		})
		if r.Err != nil && wrong(r.Err) {
			t.Logf("found in history %d of %v: %v", i+1, p, firstLine(r.Err))
			return
		}
	}
	t.Errorf("not found in %d histories, %v", controlLimit, time.Since(began).Round(time.Second))
}

func firstLine(err error) string {
	text := err.Error()
	for i, c := range text {
		if c == '\n' {
			return text[:i]
		}
	}
	return text
}

// contradiction reports whether clients saw what one correct copy would not have shown them.
func contradiction(err error) bool {
	return errors.Is(err, history.ErrNotLinearizable) || errors.Is(err, history.ErrNotSerializable)
}

// TestADiskThatLosesWhatItSyncedIsFound is the positive control of crashes.
func TestADiskThatLosesWhatItSyncedIsFound(t *testing.T) {
	plan := func() Plan {
		p := NewPlan(rand.Uint64())
		p.First, p.Faults, p.Keep = "crash all", []string{"crash all"}, vfs.KeepNone
		p.Timing.SnapshotInterval = time.Hour // or a state machine ahead of its log would tell
		p.SegmentBytes = 16 << 20             // or a log that lacks a file would
		p.Moves, p.Splits = false, false      // or the map's log would, which they write to
		return p
	}
	lie := func(c *Cluster) {
		for _, n := range c.Nodes {
			n.Disk.lie()
		}
	}
	findViolation(t, plan, lie, contradiction)
}

// TestAcknowledgementsThatDoNotWaitForTheirSyncAreFound is the positive control of power cuts: what is lost is only what was
// written within one sync, a few milliseconds.
func TestAcknowledgementsThatDoNotWaitForTheirSyncAreFound(t *testing.T) {
	plan := func() Plan {
		p := NewPlan(rand.Uint64())
		p.First, p.Faults = "power cut", []string{"power cut"}
		p.Sync = 2 * (p.Delay + p.Jitter)
		return p
	}
	hasten := func(c *Cluster) {
		for _, n := range c.Nodes {
			n.Disk.haste()
		}
	}
	findViolation(t, plan, hasten, contradiction)
}

// bugs are those that only a whole cluster under faults shows.
var bugs = []seededbug.Bug{seededbug.SkipReadIndex}

// TestBugsOfTheClusterAreFound builds this test with the seeded bugs and demands that the simulation, as CI
// runs it, finds each of them by what clients see.
func TestBugsOfTheClusterAreFound(t *testing.T) {
	program := filepath.Join(t.TempDir(), "sim")
	if out, err := exec.Command("go", "test", "-c", "-tags", "seededbug", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, bug := range bugs {
		t.Run(string(bug), func(t *testing.T) {
			began := time.Now()
			cmd := exec.Command(program, "-test.run=^TestHistoriesUnderFaultsAreCorrect$", fmt.Sprint("-sim.histories=", controlLimit))
			cmd.Env = append(os.Environ(), "LIGHTNING_SEEDED_BUG="+string(bug))
			out, err := cmd.CombinedOutput()
			found := bytes.Contains(out, []byte(history.ErrNotLinearizable.Error())) || bytes.Contains(out, []byte(history.ErrNotSerializable.Error()))
			if err == nil || !found {
				t.Fatalf("not found: %v\n%s", err, out[max(0, len(out)-4000):])
			}
			t.Logf("found in %v", time.Since(began).Round(time.Second))
		})
	}
}
