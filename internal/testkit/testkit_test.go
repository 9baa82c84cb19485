package testkit

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// recorder stands in for a test that is expected to fail.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) { r.failure = format }

func TestEventuallyWaitsUntilTheConditionHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		Eventually(t, time.Minute, func() bool { return time.Since(start) >= time.Second })
		if waited := time.Since(start); waited > time.Second+pollEvery {
			t.Errorf("waited %v", waited)
		}
	})
}

func TestEventuallyFailsAtTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := &recorder{TB: t}
		Eventually(r, time.Second, func() bool { return false }, "leader of %d", 7)
		if waited := time.Since(start); r.failure == "" || waited != time.Second {
			t.Errorf("failure %q after %v", r.failure, waited)
		}
	})
}

func TestMessageIsFormatted(t *testing.T) {
	for want, message := range map[string][]any{
		"":              nil,
		": plain 100%":  {"plain 100%"},
		": leader of 7": {"leader of %d", 7},
		": 7":           {7},
	} {
		if got := format(message); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestSeedComesFromTheEnvironment(t *testing.T) {
	t.Setenv(SeedVariable, "-42")
	if seed := Seed(t); seed != -42 {
		t.Errorf("seed %d", seed)
	}
	if a, b := Rand(t).Uint64(), Rand(t).Uint64(); a != b {
		t.Errorf("one seed gave %d and %d", a, b)
	}
}

func TestLoggerMayOutliveItsTest(t *testing.T) {
	var logger *slog.Logger
	t.Run("inner", func(t *testing.T) {
		logger = Logger(t)
		logger.Info("during")
	})
	logger.Info("after " + strings.Repeat("x", 10))
}
