package cluster

import (
	"context"
	"testing"
	"time"
)

// pollEvery is short against every wait of a test and long against the work of one poll.
const pollEvery = 20 * time.Millisecond

// Poll calls f until it returns nil and then returns nil; when ctx ends first it returns f's last error.
func Poll(ctx context.Context, f func() error) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}

// Eventually fails the test unless f returns nil within limit.
func Eventually(t testing.TB, limit time.Duration, what string, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := Poll(ctx, f); err != nil {
		t.Fatalf("%s: not within %v: %v", what, limit, err)
	}
}

// Wait lets d pass or ctx end, whichever is first.
func Wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
