package sim

import (
	"bytes"
	"fmt"
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

// powerCutHistories is how many histories CI makes.
const powerCutHistories = 12

// powerCutPlan cuts the power of all nodes at once, again and again, at any moment. Syncs are slow, so that
// most cuts find writes that are stored and not durable on several nodes.
func powerCutPlan() Plan {
	p := NewPlan(rand.Uint64())
	p.First, p.Faults = "crash all", []string{"crash all"}
	p.Keep = [...]vfs.Keep{vfs.KeepNone, vfs.KeepRandom}[rand.IntN(2)]
	p.Sync = 10*time.Millisecond + time.Duration(rand.Int64N(int64(40*time.Millisecond)))
	p.Calm, p.Lasting = time.Second, 300*time.Millisecond
	p.Clients, p.Pause, p.Timeout = 5, 8*time.Millisecond, 2*time.Second
	p.Timing.HeartbeatTimeout = 300 * time.Millisecond
	return p
}

// TestAPowerCutOfAllNodesLosesNothingAcknowledged: leader and followers write their logs side by side, and what was
// acknowledged is durable on a majority whenever the power goes.
func TestAPowerCutOfAllNodesLosesNothingAcknowledged(t *testing.T) {
	for range powerCutHistories {
		r := simulate(t, powerCutPlan())
		judge(t, r)
		if r.Crashes < 3 {
			t.Errorf("%v\n  %d crashes of a node: too few to prove anything", r, r.Crashes)
		}
		if t.Failed() {
			return
		}
	}
}

// TestAcknowledgementsBeforeASyncAreFoundByPowerCuts is its control: each of the two gates that hold answers back
// is missing.
func TestAcknowledgementsBeforeASyncAreFoundByPowerCuts(t *testing.T) {
	program := filepath.Join(t.TempDir(), "sim")
	if out, err := exec.Command("go", "test", "-c", "-tags", "seededbug", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, bug := range []seededbug.Bug{seededbug.MuxAnswerBeforeDurable, seededbug.MuxCountBeforeDurable} {
		t.Run(string(bug), func(t *testing.T) {
			began := time.Now()
			cmd := exec.Command(program, "-test.run=^TestAPowerCutOfAllNodesLosesNothingAcknowledged$", "-test.failfast", fmt.Sprint("-test.count=", 10))
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
