package server

import (
	"errors"
	"testing"

	"github.com/lightning-db/lightning/api"
)

// V4: the values of reads under way are bounded together, large ones leave room for small ones and for
// writes, and what a read held is given back when it ends.
func TestTheValuesOfReadsUnderWayAreBounded(t *testing.T) {
	g := newGate(10, 64<<20)
	for range 3 {
		if err := g.admit(0); err != nil {
			t.Fatal(err)
		}
	}
	large, small := replyBudget{gate: g}, replyBudget{gate: g}
	if err := large.add(12 << 20); err != nil {
		t.Fatal(err)
	}
	if err := small.add(8 << 20); !errors.Is(err, api.ErrOverloaded) {
		t.Errorf("a second large read: %v", err)
	}
	other := replyBudget{gate: g}
	if err := other.add(1 << 20); err != nil {
		t.Errorf("a small read: %v", err)
	}
	if err := g.admit(8 << 20); err != nil {
		t.Errorf("a write: %v", err)
	}
	large.release()
	small.release()
	other.release()
	if g.mu.found != 0 || g.mu.bytes != 8<<20 {
		t.Errorf("%d bytes of values, %d in all", g.mu.found, g.mu.bytes)
	}
}
