package testkit

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// pollEvery is short beside every timeout in the product and long beside a check.
const pollEvery = 2 * time.Millisecond

// Eventually waits until cond is true and fails the test if that takes longer than limit. The
// message is formatted as fmt.Sprintf does; it may be left out.
func Eventually(t testing.TB, limit time.Duration, cond func() bool, message ...any) {
	t.Helper()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		if cond() {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline.C:
			if cond() {
				return
			}
			t.Fatalf("not so within %v%s", limit, format(message))
			return
		}
	}
}

func format(message []any) string {
	if len(message) == 0 {
		return ""
	}
	if f, ok := message[0].(string); ok && len(message) > 1 {
		return ": " + fmt.Sprintf(f, message[1:]...)
	}
	return ": " + fmt.Sprint(message...)
}

// SeedVariable is the environment variable that repeats a run.
const SeedVariable = "LIGHTNING_TEST_SEED"

// Seed returns the seed of a random test: SeedVariable if it is set, else a new one. It is
// printed, so that a failure can be repeated.
func Seed(t testing.TB) int64 {
	t.Helper()
	seed := rand.Int64()
	if s := os.Getenv(SeedVariable); s != "" {
		var err error
		if seed, err = strconv.ParseInt(s, 10, 64); err != nil {
			t.Fatalf("%s: %v", SeedVariable, err)
		}
	}
	t.Logf("repeat with %s=%d", SeedVariable, seed)
	return seed
}

// Rand returns a generator with Seed's seed. It is not safe for concurrent use.
func Rand(t testing.TB) *rand.Rand {
	t.Helper()
	return NewRand(Seed(t))
}

// NewRand returns the generator of a seed.
func NewRand(seed int64) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 0)) }

// Logger returns a logger that writes to the test's log, which is shown when the test fails.
// What libraries log after the test has ended is dropped.
func Logger(t testing.TB) *slog.Logger {
	w := &testWriter{t: t}
	t.Cleanup(w.end)
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// testWriter exists because the writer of package testing panics once the test has ended.
type testWriter struct {
	mu    sync.Mutex
	t     testing.TB
	ended bool
}

// Write implements io.Writer.
func (w *testWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return len(p), nil
	}
	return w.t.Output().Write(p)
}

func (w *testWriter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
}
