package hostile

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/wire"
)

// patience is how long the honest client waits for any answer.
const patience = 20 * time.Second

// honest is a client that does ordinary things and notes how long they take.
type honest struct {
	conn *wire.Conn
	// Written by its goroutine, read once it has stopped.
	took    []time.Duration
	problem error

	stopped sync.WaitGroup
	cancel  context.CancelFunc
}

// largeBytes makes every tenth write one that the node counts as large.
const largeBytes = 256 << 10

// startHonest connects before the attack, as clients of a service have.
func startHonest(t *testing.T, address, password string) *honest {
	t.Helper()
	conn, err := wire.Dial(address, 5*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	h := &honest{conn: conn}
	if password != "" {
		if v, err := conn.Do("AUTH", password); err != nil || v.IsError() {
			t.Fatalf("AUTH: %v, %v", v, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	h.cancel = cancel
	h.stopped.Go(func() {
		for i := 0; ctx.Err() == nil && h.problem == nil; i++ {
			h.problem = h.round(i)
			cluster.Wait(ctx, 5*time.Millisecond)
		}
	})
	return h
}

// round writes a key, reads it back and removes nothing: there are few keys.
func (h *honest) round(i int) error {
	key, value := fmt.Sprintf("honest:%d", i%50), fmt.Sprintf("value %d", i)
	if i%10 == 0 {
		key, value = "honest:large", value+strings.Repeat("x", largeBytes)
	}
	if v, err := h.ask("SET", key, value); err != nil || v.Raw != "+OK\r\n" {
		return fmt.Errorf("SET %s: %v, %w", key, v, err)
	}
	if v, err := h.ask("GET", key); err != nil || v.Text != value {
		return fmt.Errorf("GET %s: %v, %w; want %.40q", key, v, err, value)
	}
	return nil
}

func (h *honest) ask(args ...string) (wire.Value, error) {
	_ = h.conn.SetDeadline(time.Now().Add(patience))
	began := time.Now()
	v, err := h.conn.Do(args...)
	h.took = append(h.took, time.Since(began))
	return v, err
}

// stop ends the client and returns its times in order.
func (h *honest) stop() []time.Duration {
	h.cancel()
	h.stopped.Wait()
	_ = h.conn.Close()
	slices.Sort(h.took)
	return h.took
}

// measure runs an honest client while f runs, and fails the test if it got anything but right answers.
func measure(t *testing.T, what, address, password string, f func()) {
	t.Helper()
	h := startHonest(t, address, password)
	f()
	took := h.stop()
	if h.problem != nil {
		t.Errorf("the honest client beside %s: %v", what, h.problem)
	}
	if len(took) < 2 {
		t.Errorf("the honest client beside %s: only %d answers", what, len(took))
		return
	}
	at := func(percent int) time.Duration { return took[(len(took)-1)*percent/100].Round(10 * time.Microsecond) }
	say(t, "honest client beside %s: %d answers, p50 %v, p99 %v, longest %v", what, len(took), at(50), at(99), at(100))
}
