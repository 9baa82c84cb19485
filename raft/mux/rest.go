package mux

import (
	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/raft/wire"
)

// The library sends each follower of an idle group an empty append each one to two commit timeouts,
// for the sake of contact, which heartbeats keep as well, of a later term, which their answers bring to
// light, and of the commit index, which the answers tell that the follower has. Such appends would be the
// larger part of what idle groups send, so they are answered without being sent (RM8); and waking up to ask
// for them would be a sixth of what idle groups do at all, so whoever asks is kept until there is something
// to tell: an entry was stored here, the follower answers with another term or has lost what it had, or
// it does not answer any more. So long its heartbeats are sent again without the library, whose timers would
// wake it one by one. What they say of the follower, that it has answered in this term, the library hears from
// the pipeline that rests: the lease needs that.

// knownState is what a follower said of itself in its latest answer to a heartbeat, and how often that
// may still stand for the answer to an empty append.
type knownState struct {
	peerState
	credit int
	looks  int           // since that answer, see Look
	rest   chan struct{} // closed when the sender that rests has to go on; nil if none rests
	by     *pipeline     // whose sender rests
	holds  uint64        // the entry up to which the follower must have committed meanwhile
}

const (
	// emptyCredit: the library sends an empty append each one to two commit timeouts, and a heartbeat each
	// tenth to fifth of the heartbeat timeout, so that a third between two heartbeats is rare. When
	// heartbeats do not get through, the third, at most six commit timeouts after the last answer, keeps
	// contact over another connection before the lease of the leader ends.
	emptyCredit = 2
	// restLooks is how many looks, ten of which are a heartbeat timeout, may pass without an answer. One
	// comes within four when nothing is wrong. What follows is sent, two commit timeouts later at most,
	// which is within the lease as well.
	restLooks = 5
)

// noteState keeps what a follower answered to a heartbeat.
func (t *Transport) noteState(to string, s peerState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.mu.states[to]
	if k == nil {
		if len(t.mu.states) >= maxSenders {
			return
		}
		k = &knownState{}
		t.mu.states[to] = k
	}
	if k.term != s.term || s.commit < k.holds {
		t.wakeLocked(k)
	}
	k.peerState, k.credit, k.looks = s, emptyCredit, 0
}

// knows reports whether an append tells the follower nothing: it has no entries, and the follower's
// latest heartbeats were answered in the same term with a commit index that is no lower. When an answer
// shows a later term the next append is sent again.
func (t *Transport) knows(to hraft.ServerAddress, r *hraft.AppendEntriesRequest) bool {
	if len(r.Entries) > 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.mu.states[string(to)]
	if k == nil || k.credit == 0 || k.term != r.Term || k.commit < min(r.LeaderCommitIndex, r.PrevLogEntry) {
		return false
	}
	k.credit--
	return true
}

// goesOn takes an answer to a heartbeat and reports whether the next is sent without the library: while the
// sender to the same follower rests, which it does in the term that the follower answers with (noteState).
func (t *Transport) goesOn(q *beat) bool {
	t.noteState(q.to, q.peer)
	t.owner.Answered(q.to, q.peer.lastLog)
	if q.status != wire.BeatYes || q.peer.term != q.term {
		return false
	}
	t.mu.Lock()
	var p *pipeline
	if k := t.mu.states[q.to]; k != nil {
		p = k.by
	}
	t.mu.Unlock()
	return p != nil && p.contact(q.term)
}

// rest keeps the sender of an append that the follower knows, until there is something to tell or the pipeline
// ends. A follower that has not committed everything that it was sent is owed a commit index soon.
func (t *Transport) rest(p *pipeline, r *hraft.AppendEntriesRequest) {
	t.mu.Lock()
	k := t.mu.states[string(p.to)]
	if k == nil || k.rest != nil || k.term != r.Term || k.commit < r.PrevLogEntry || k.looks >= restLooks || !t.owner.Leads(r.Term) {
		t.mu.Unlock()
		return
	}
	rest := make(chan struct{})
	k.rest, k.by, k.holds = rest, p, r.PrevLogEntry
	t.resting.Add(1)
	// Stored sees the rest, or the rest what is stored.
	if t.stored.Load() > r.PrevLogEntry {
		t.wakeLocked(k)
	}
	t.mu.Unlock()
	select {
	case <-rest:
	case <-p.ctx.Done():
		t.mu.Lock()
		defer t.mu.Unlock()
		if k.rest == rest {
			t.wakeLocked(k)
		}
	}
}

// wakeLocked ends a rest. The caller holds the lock.
func (t *Transport) wakeLocked(k *knownState) {
	if k.rest == nil {
		return
	}
	close(k.rest)
	k.rest, k.by, k.holds = nil, nil, 0
	t.resting.Add(-1)
}

// Stored says that this replica's log now ends at index, before the library is told so.
func (t *Transport) Stored(index uint64) {
	t.stored.Store(index)
	if t.resting.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.mu.states {
		t.wakeLocked(k)
	}
}

// Look is called ten times in each heartbeat timeout. It ends the rest of those whose follower has
// fallen silent.
func (t *Transport) Look() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.mu.states {
		if k.looks++; k.looks >= restLooks && k.rest != nil {
			k.credit = 0
			t.wakeLocked(k)
		}
	}
}
