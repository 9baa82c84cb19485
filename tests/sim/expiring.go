package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/lightning-db/lightning/tests/history"
	"github.com/lightning-db/lightning/tests/workload"
)

// maxLives is how long a value that expires is there at most.
const maxLives = 2048 * time.Millisecond

// newExpiring makes clients of keys whose values mostly expire by themselves.
func newExpiring(c *Cluster) *workload.Registers {
	return &workload.Registers{
		Recorder: history.NewRecorder(), Keys: history.NewKeys("expiring"), Groups: 2, WorkersPerGroup: 1,
		Timeout: c.plan.Timeout, Pause: 2 * c.plan.Pause, Seed: c.plan.Seed + 1, Lives: drawLife,
		Stores: func(worker int) []workload.Store { return []workload.Store{newCaller(c, 300+worker)} },
	}
}

// drawLife spreads lives over all magnitudes up to maxLives. One in eight is for ever.
func drawLife(rng *rand.Rand) time.Duration {
	if rng.IntN(8) == 0 {
		return 0
	}
	return maxLives >> rng.IntN(8)
}

// What the time of a shard may be off by. A new leader's time is above whatever the leaders before it may have used, and
// stands there until the clock has caught up. A read does not see the time of an entry whose fate is open, so that it finds
// what has ended while a majority does not answer.
const (
	maxAhead  = 600 * time.Millisecond
	maxBehind = 10 * time.Second
	// maxJumpBorne is what a clock that jumps may be off by and still be believed, ahead and behind, and the time
	// until the next comparison.
	maxJumpBorne = 12 * time.Second
)

// expiryModel judges the keys that expire by what the clocks of a plan promise.
func expiryModel(p Plan) porcupine.Model {
	off := time.Duration(0)
	if p.has("clock drift") {
		off = 2 * maxDrift
	}
	if p.has("clock jump") {
		off = max(off, maxJumpBorne)
	}
	return history.Expiring(maxAhead+off, maxBehind+off)
}

// readExpired reads each key that expires when everything that was written must have expired: as long after the
// last write as the model allows.
func (l *load) readExpired(c *caller) error {
	pass(maxLives + maxBehind + 2*maxDrift + maxJumpBorne)
	var keys []string
	for _, op := range l.expiring.Recorder.Operations() {
		keys = append(keys, op.Input.Key)
	}
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		in := history.Input{Kind: history.Read, Key: key}
		pending := l.expiring.Recorder.Begin(-1, in)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		out, err := c.Perform(ctx, in)
		cancel()
		if err != nil {
			return fmt.Errorf("read %s after the faults: %w", key, err)
		}
		pending.OK(out)
	}
	return nil
}
