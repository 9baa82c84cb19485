package master

import (
	"time"

	"github.com/lightning-db/lightning/api/peerv1"
)

const (
	// loadWindow is the time constant of the averages of requests: what is moved for load stays where it is for longer
	// than a burst lasts.
	loadWindow = 5 * time.Minute
	// loadKnown is how long a shard must have been watched before its average counts.
	loadKnown = time.Minute
	// loadKept is how long the last average of a shard counts whose leader does not say any more.
	loadKept = 10 * time.Minute
	// leaderRest is how long a leader stays before another one is chosen for load.
	leaderRest = 10 * time.Minute
)

// load is what a master knows of the requests of a shard. It begins anew with each master.
type load struct {
	// What the leader counted, and when. A count of another leader, or a smaller one, is a new beginning.
	leader string
	count  uint64
	at     time.Time
	ledAt  time.Time // since when it leads, for this master

	perSecond float64
	watched   time.Duration // at most loadWindow
	heard     time.Time     // when the average changed last
}

// measure averages the requests of each shard. A leader that does not answer keeps its average for a while; one of a build
// that does not count them is unknown.
func (m *Master) measure(seen *observation) {
	now := m.o.Clock.Now()
	known := make(map[uint64]bool)
	for _, s := range seen.current.Shards {
		known[s.Id] = true
		l := m.loads[s.Id]
		if l == nil {
			l = &load{ledAt: now}
			m.loads[s.Id] = l
		}
		if r := seen.reports[s.Id]; r != nil {
			l.note(r, now)
		}
		if l.watched >= loadKnown && now.Sub(l.heard) < loadKept {
			seen.requests[s.Id] = int64(l.perSecond)
		}
		if age := now.Sub(l.ledAt); age < leaderRest {
			seen.ledLately[s.Id] = true
		}
	}
	for id := range m.loads {
		if !known[id] {
			delete(m.loads, id)
		}
	}
}

// note takes a report. Until the window is full it is an average of all that was seen, then one in which the past fades.
func (l *load) note(r *peerv1.GroupMembers, now time.Time) {
	if l.leader != r.LeaderId {
		l.ledAt = now
	}
	took := now.Sub(l.at)
	goesOn := l.leader == r.LeaderId && r.Requests != nil && !l.at.IsZero() && *r.Requests >= l.count && took > 0
	if goesOn {
		sample := float64(*r.Requests-l.count) / took.Seconds()
		l.watched = min(l.watched+took, loadWindow)
		l.perSecond += (sample - l.perSecond) * min(1, took.Seconds()/l.watched.Seconds())
		l.heard = now
	}
	l.leader, l.count, l.at = r.LeaderId, r.GetRequests(), now
	if r.Requests == nil {
		l.at = time.Time{}
	}
}
