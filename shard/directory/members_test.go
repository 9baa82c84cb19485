package directory

import (
	"testing"

	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/raft"
)

// TestADurableStateKeepsItsMembershipWhileALaterOneIsAskedFor has a second caller read a later
// position, and forget what lies before it, between the first one's position and its membership.
func TestADurableStateKeepsItsMembershipWhileALaterOneIsAskedFor(t *testing.T) {
	var l Members
	l.Add(raft.Configuration{Index: 10})
	l.Add(raft.Configuration{Index: 150})
	at := func(index uint64) func() engine.Position {
		return func() engine.Position { return engine.Position{Index: index, Term: 2} }
	}
	s := l.Durable(func() engine.Position {
		if later := l.Durable(at(200)); later.Index != 200 || later.Configuration.Index != 150 {
			t.Errorf("state at 200: %+v", later)
		}
		return at(100)()
	})
	if s.Index != 100 || s.Configuration.Index != 10 {
		t.Fatalf("state at 100: %+v", s)
	}
	if l.Durable(at(200)); len(l.list) != 1 {
		t.Fatalf("%d memberships are kept, one is enough", len(l.list))
	}
}
