package raft

import (
	"fmt"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
)

// Noticing sooner that a leader is gone.
//
// The library looks at random times, one to two heartbeat timeouts apart, whether its leader has been
// silent for one. The later of two survivors notices after two timeouts on average and three at
// worst, and until then it refuses the other's pre-vote. So the host counts, ten times per heartbeat
// timeout, for how long the leader of each group has been silent, and at silenceLimit of them it has
// the library look at once. A node that others suspect, because its connection broke or gossip says
// that it died, is given less: the lease, after which it leads no more even if it lives.
//
// This is advice about when to look, no more: the library still finds by itself that it has heard
// nothing for that long, and a majority must grant a pre-vote before anything changes.
//
// A group that has just been started has no leader, and its preferred replica looks first: it then leads
// from the beginning, and needs not be given the leadership seconds later (spread.go).
//
// What is counted are looks of this process and not time, so that a node that stood still for a
// while first hears what waits for it.

const (
	// looksPerTimeout is how many looks fit into a heartbeat timeout, of which a leader sends ten
	// heartbeats in.
	looksPerTimeout = 10
	// silenceLimit is one and a half heartbeat timeouts: more than what a fsync on a busy disk costs
	// a follower that hears heartbeats only between two writes.
	silenceLimit = looksPerTimeout * 3 / 2
	// firstLooks is what the preferred replica gives others to be heard of after a start: less than the one heartbeat
	// timeout after which the first of them stands, and more than the starts of nodes lie apart.
	firstLooks = looksPerTimeout / 2
	// suspicionLooks is for how long a hint counts.
	suspicionLooks = 4 * looksPerTimeout
)

// silence is what the host has heard of the leader of one group.
type silence struct {
	contact time.Time // the latest, as the library has it
	looks   int       // since then
	hinted  bool      // the library was told
}

// suspicion says that a node may be dead.
type suspicion struct {
	node  api.NodeID
	until uint64 // in the host's looks
}

// watchLoop looks after the leaders of all groups and after the writes of their logs.
func (h *Host) watchLoop() {
	ticker := time.NewTicker(h.opts.Timing.HeartbeatTimeout / looksPerTimeout)
	defer ticker.Stop()
	var groups []*Group
	for {
		select {
		case <-ticker.C:
		case <-h.stop:
			return
		}
		now := h.looks.Add(1)
		groups = h.appendGroups(groups[:0])
		for _, g := range groups {
			g.log.writes.look(now)
			g.listen(now)
			i := g.current.Load()
			i.transport.Look()
			i.lookAtCatchUps(now, false)
		}
		clear(groups)
	}
}

// listen notes one more look at the leader. Only watchLoop calls it.
func (g *Group) listen(now uint64) {
	i := g.current.Load()
	leader, _ := i.raft.LeaderWithID()
	contact := i.raft.LastContact()
	first := leader == "" && contact.IsZero() && g.Preferred()
	if i.raft.State() != hraft.Follower || leader == "" && !first {
		g.silence = silence{}
		return
	}
	limit := firstLooks
	if !first {
		limit = g.looksAt(nodeOf(leader), now)
	}
	if g.silence.look(contact, limit) {
		select {
		case i.hints <- struct{}{}:
		default:
		}
	}
}

// looksAt is how many looks the leader, which is on node, may be silent for.
func (g *Group) looksAt(node api.NodeID, now uint64) int {
	// A follower has nothing to ask of its leader, but a stream that breaks tells it first.
	g.host.mux.Connected(node)
	if x := g.suspected.Load(); x != nil && x.node == node && now < x.until {
		return g.host.opts.Timing.leaseLooks()
	}
	return silenceLimit
}

// look reports, once per silence, that nothing was heard at limit looks after the latest contact.
func (s *silence) look(contact time.Time, limit int) bool {
	if contact != s.contact {
		*s = silence{contact: contact}
		return false
	}
	s.looks++
	noticed := s.looks >= limit && !s.hinted
	s.hinted = s.hinted || noticed
	return noticed
}

// leaseLooks is the number of looks that last longer than the lease.
func (t Timing) leaseLooks() int {
	return int(t.LeaderLease*looksPerTimeout/t.HeartbeatTimeout) + 1
}

// suspect passes a hint on if node leads the group.
func (g *Group) suspect(node api.NodeID) {
	if leader, _ := g.Leader(); leader == node && node != g.replica.Node {
		g.suspected.Store(&suspicion{node: node, until: g.host.looks.Load() + suspicionLooks})
	}
}

// StalledError says that one write of a log has lasted too long. The disk may answer some day, but
// nothing can be told about it until then, not even by stopping in order.
type StalledError struct {
	Group GroupID
	For   time.Duration
}

// Error implements error.
func (e *StalledError) Error() string {
	return fmt.Sprintf("a write to the log of group %s has not ended for %s: the disk has stalled", e.Group, e.For)
}
