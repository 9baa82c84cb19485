package raft

import (
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
)

// Keeping leaderships where they belong.
//
// A group may name a node that should lead it, so that the groups of a cluster are spread over its
// nodes and come back after a restart without anybody in charge. A ready leader elsewhere looks, once
// per heartbeat timeout, whether the preferred voter is fit: connected, answering, near the end of
// the log, with a clock like its own. When it was that at spreadPatience looks in a row, the leader
// gives the leadership to it.
//
// A preferred node that does not keep what it is given, because something is wrong with it that
// cannot be seen from here, gets it back later each time: the patience doubles, up to
// maxSpreadPatience.
const (
	spreadPatience    = 6   // looks: three seconds
	maxSpreadPatience = 600 // looks: five minutes
	// maxSpreadLag is how many entries the preferred voter may miss: more than are on their way at
	// full load, and few enough to be sent while proposals wait for the transfer.
	maxSpreadLag = 256
)

// spread is what a replica remembers of giving the leadership to the preferred node, over its own
// terms. Owned by leadLoop.
type spread struct {
	patience int    // looks
	given    uint64 // when it was given last, in the host's looks; 0 if never
}

// preferredElsewhere reports whether another node should lead.
func (g *Group) preferredElsewhere() bool {
	preferred := *g.preferred.Load()
	return preferred != "" && preferred != g.replica.Node || g.host.draining.Load()
}

// SetPreferredLeader names the node that should lead from now on, empty for none.
func (g *Group) SetPreferredLeader(node api.NodeID) {
	if *g.preferred.Swap(&node) == node {
		return
	}
	g.wish()
}

// SetDraining says whether this node leads only what nobody else can: it gives away what it leads, and what it is
// elected for later, each time to the most caught-up voter that answers.
func (h *Host) SetDraining(draining bool) {
	if h.draining.Swap(draining) == draining {
		return
	}
	for _, g := range h.appendGroups(nil) {
		g.wish()
	}
}

// Avoid names nodes that should not be given leaderships while another can lead.
func (h *Host) Avoid(nodes []api.NodeID) {
	avoided := make(map[api.NodeID]bool, len(nodes))
	for _, n := range nodes {
		avoided[n] = true
	}
	h.avoided.Store(&avoided)
}

func (h *Host) avoids(node api.NodeID) bool {
	avoided := h.avoided.Load()
	return avoided != nil && (*avoided)[node]
}

// wish has a leader look again whether it should be another.
func (g *Group) wish() {
	select {
	case g.current.Load().wishes <- struct{}{}:
	default:
	}
}

// onWish begins to look, if nothing is being given away already.
func (i *instance) onWish(l *leadership) {
	if i.group.readyTerm.Load() == l.term && l.term != 0 && l.giving == nil {
		i.startLooking(l)
	}
}

// startLooking begins with the looks of a replica that is ready and is not the preferred one.
func (i *instance) startLooking(l *leadership) {
	g := i.group
	if !g.preferredElsewhere() {
		l.look = nil
		return
	}
	s := &g.spread
	kept := g.host.looks.Load() - s.given
	switch {
	case s.given == 0 || kept > 4*looksPerTimeout*uint64(s.patience):
		s.patience = spreadPatience
	default:
		s.patience = min(2*s.patience, maxSpreadPatience)
	}
	l.look, l.fitFor = time.After(g.host.opts.Timing.HeartbeatTimeout), 0
}

// onLook gives the leadership away when the preferred voter was fit for long enough.
func (i *instance) onLook(l *leadership) {
	g := i.group
	l.look = nil
	if !g.preferredElsewhere() {
		return
	}
	l.look = time.After(g.host.opts.Timing.HeartbeatTimeout)
	target, fit := i.fitPreferred(l)
	if !fit {
		l.fitFor = 0
		return
	}
	if l.fitFor++; l.fitFor < g.spread.patience && !g.host.draining.Load() {
		return
	}
	l.look = nil
	g.logger.Info("gives the leadership to the preferred node", "to", target, "term", l.term)
	g.spread.given = max(g.host.looks.Load(), 1)
	l.giving, _ = i.transfer(target)
}

// onGiven goes on looking, less often, if the leadership was not taken.
func (i *instance) onGiven(l *leadership, err error) {
	l.giving = nil
	if err == nil {
		return // LeaderCh says so as well
	}
	i.group.logger.Info("the preferred node did not take the leadership", "error", err)
	i.startLooking(l)
}

// fitPreferred is the preferred voter, if it could lead as well as this one.
func (i *instance) fitPreferred(l *leadership) (target string, fit bool) {
	g := i.group
	if g.readyTerm.Load() != l.term || l.clockOff || l.handedOver != nil || i.Stalled() || len(i.inflight) > cap(i.inflight)/4 {
		return "", false
	}
	preferred := *g.preferred.Load()
	if g.host.draining.Load() {
		preferred = ""
		if best := i.successors(); len(best) > 0 {
			preferred = nodeOf(hraft.ServerAddress(best[0]))
		}
	}
	if g.host.avoids(preferred) {
		return "", false
	}
	for _, s := range i.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage != hraft.Voter || nodeOf(s.Address) != preferred {
			continue
		}
		a, ok := i.healthy(string(s.ID))
		last, _ := g.store.LastIndex() // held in memory
		limit := g.host.opts.MaxClockOffset.Milliseconds()
		offset := l.clockOf[string(s.ID)]
		return string(s.ID), ok && a.lastLog+maxSpreadLag >= last && -limit <= offset && offset <= limit
	}
	return "", false
}

// Preferred reports whether this replica is the one that should lead its group.
func (g *Group) Preferred() bool { return *g.preferred.Load() == g.replica.Node }
