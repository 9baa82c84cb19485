package raft

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/raft/mux"
)

// Reading linearizably by term probe.
//
// The leader of term T notes its commit index c, asks the other voters whether they have not
// gone beyond T, and serves once a majority, itself included, says so and c is applied. A later
// leader needs votes of a majority, and each voter publishes the new term before its vote
// leaves. Some voter is in both majorities; it answered "not beyond T" after the read began, so
// it voted later, and nothing newer than c was acknowledged before the read began. Clocks and
// pauses play no part. The library's VerifyLeader does not prove this: it counts answers to
// messages that were sent before the call.

// readQueue holds the reads that wait for the next round. A round is shared: it costs one channel
// however many wait for it, and one close wakes them all.
type readQueue struct {
	wake chan struct{} // capacity 1
	// asksOthers is what the last round found: there are other voters, so that a read need not look
	// whether this replica is a majority by itself. A read that finds it wrong takes a round, which
	// sets it right.
	asksOthers atomic.Bool

	// mu is a leaf.
	mu      sync.Mutex
	next    *readRound // nil while no read waits
	waiting int        // for next
	closed  bool
}

// readRound is one confirmation of the leadership.
type readRound struct {
	done  chan struct{} // closed after the fields below are set
	index uint64
	err   error
}

// maxWaitingReads bounds the reads of one group that wait for a round.
const maxWaitingReads = 1 << 16

// ReadIndex returns an index such that a read of the state machine at or after it sees every
// write acknowledged before the call, and waits until it is applied. NOT_LEADER if this
// replica does not lead or is not ready; UNAVAILABLE if no majority confirmed that it does.
func (g *Group) ReadIndex(ctx context.Context) (api.Index, error) {
	if err := g.unwell(); err != nil {
		return 0, err
	}
	if seededbug.Enabled(seededbug.SkipReadIndex) && g.everReady.Load() {
		// The bug: whoever led once answers from what it has.
		return api.Index(g.applier.applied.Load()), nil
	}
	index, alone, err := uint64(0), false, error(nil)
	if !g.reads.asksOthers.Load() {
		index, alone, err = g.confirmAlone()
	}
	if !alone {
		index, err = g.joinRound(ctx)
	}
	if err != nil {
		return 0, err
	}
	if err := g.applier.wait(ctx, index, g.closing); err != nil {
		return 0, err
	}
	return api.Index(index), nil
}

// joinRound waits for the next confirmation.
func (g *Group) joinRound(ctx context.Context) (uint64, error) {
	r, err := g.reads.join()
	if err != nil {
		return 0, err
	}
	select {
	case <-r.done:
		return r.index, r.err
	case <-ctx.Done():
		return 0, api.Errorf(api.CodeExpired, "confirm leadership of group %s: %w", g.id, ctx.Err())
	}
}

// confirmAlone confirms at once, on the caller's goroutine, if this replica is the only voter: a
// majority by itself, which nobody can depose without its vote.
func (g *Group) confirmAlone() (index uint64, alone bool, err error) {
	i := g.current.Load()
	term, err := g.readyLeader()
	if err != nil {
		return 0, false, err
	}
	index = i.raft.CommitIndex()
	if !i.aloneAmong(i.raft.GetConfiguration().Configuration().Servers) {
		return 0, false, nil
	}
	again, err := g.readyLeader()
	if err != nil || again != term {
		return 0, true, g.notLeader("group %s is not led by this node any more", g.id)
	}
	return index, true, nil
}

// aloneAmong reports whether this replica is the only voter.
func (i *instance) aloneAmong(servers []hraft.Server) bool {
	for _, s := range servers {
		if (s.Suffrage == hraft.Voter) != (string(s.ID) == i.local) {
			return false
		}
	}
	return true
}

// join returns the round that begins after this call.
func (q *readQueue) join() (*readRound, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return nil, api.Errorf(api.CodeShuttingDown, "the group is closed")
	case q.waiting == maxWaitingReads:
		return nil, api.Errorf(api.CodeOverloaded, "%d reads wait already", maxWaitingReads)
	}
	q.waiting++
	if q.next == nil {
		q.next = &readRound{done: make(chan struct{})}
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	return q.next, nil
}

// take begins the round that reads have joined, nil if none has; last refuses later ones.
func (q *readQueue) take(last bool) *readRound {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := q.next
	q.next, q.waiting, q.closed = nil, 0, last
	return r
}

func (r *readRound) finish(index uint64, err error) {
	if r == nil {
		return
	}
	r.index, r.err = index, err
	close(r.done)
}

// readLoop confirms the leadership once for all reads that arrived before.
func (g *Group) readLoop() {
	for {
		select {
		case <-g.reads.wake:
			if r := g.reads.take(false); r != nil {
				r.finish(g.confirm())
			}
		case <-g.closing:
			g.reads.take(true).finish(0, api.Errorf(api.CodeShuttingDown, "group %s is closed", g.id))
			return
		}
	}
}

// confirm runs one round and returns the read index.
func (g *Group) confirm() (uint64, error) {
	i := g.current.Load()
	term, err := g.readyLeader()
	if err != nil {
		return 0, err
	}
	index := i.raft.CommitIndex()
	servers := i.raft.GetConfiguration().Configuration().Servers
	g.reads.asksOthers.Store(!i.aloneAmong(servers))
	if !i.majorityWithin(servers, term) {
		return 0, api.Errorf(api.CodeUnavailable, "no majority of group %s confirmed that this node leads it", g.id)
	}
	// The round proves something only about the leader and the membership it began with.
	if again, err := g.readyLeader(); err != nil || again != term {
		return 0, g.notLeader("group %s is not led by this node any more", g.id)
	}
	if !slices.Equal(servers, i.raft.GetConfiguration().Configuration().Servers) {
		return 0, api.Errorf(api.CodeUnavailable, "the members of group %s changed during a read", g.id)
	}
	return index, nil
}

// majorityWithin asks voters and reports whether a majority has not gone beyond term. It asks as many
// as are needed, those first that said yes the last time, and the others only when an answer is not
// yes or does not come soon: a round then costs a frame to one node of three, not to two.
func (i *instance) majorityWithin(servers []hraft.Server, term uint64) bool {
	r := i.newRound(servers)
	defer r.end()
	slices.SortStableFunc(r.others, func(a, b hraft.ServerID) int {
		return boolFirst(i.granted[a], i.granted[b])
	})
	soon := time.NewTimer(i.group.host.opts.Timing.HeartbeatTimeout / hedgesPerTimeout)
	defer soon.Stop()
	granted := r.local
	r.ask(r.needed()-granted, term)
	for granted < r.needed() {
		a, ok := r.next(soon.C)
		switch {
		case ok && a.Granted:
			granted++
			i.granted[hraft.ServerID(a.Replica)] = true
			continue
		case ok:
			delete(i.granted, hraft.ServerID(a.Replica))
		case len(r.others) == 0 && r.missing == 0:
			return false
		}
		if len(r.others) > 0 {
			i.forgetSilent(r)
			r.ask(len(r.others), term)
		}
	}
	return true
}

// hedgesPerTimeout: a voter that has not answered within this share of a heartbeat timeout is not
// waited for alone. 50 ms are far above a round trip and far below what a reader notices as an outage.
const hedgesPerTimeout = 10

// boolFirst orders true before false.
func boolFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// forgetSilent lets the next round begin with other voters than those that this one waits for.
func (i *instance) forgetSilent(r *voterRound) {
	for _, id := range r.asked {
		delete(i.granted, id)
	}
}

// voterRound is one question to the voters.
type voterRound struct {
	instance *instance
	voters   int
	local    int              // 1 if this replica votes, whose answer is always yes
	others   []hraft.ServerID // voters that were not asked yet
	asked    []hraft.ServerID
	missing  int  // answers to come
	over     bool // its time has passed: the timer fires once
	answers  chan mux.ProbeAnswer
	timer    *time.Timer
}

// newRound readies a question to the voters among servers. The caller must call end.
func (i *instance) newRound(servers []hraft.Server) *voterRound {
	r := &voterRound{
		instance: i, answers: make(chan mux.ProbeAnswer, len(servers)),
		timer: time.NewTimer(i.group.host.opts.Timing.HeartbeatTimeout),
	}
	for _, s := range servers {
		switch {
		case s.Suffrage != hraft.Voter:
			continue
		case string(s.ID) == i.local:
			r.local = 1
		default:
			r.others = append(r.others, s.ID)
		}
		r.voters++
	}
	return r
}

// ask asks the next count voters.
func (r *voterRound) ask(count int, term uint64) {
	g := r.instance.group
	for _, id := range r.others[:max(count, 0)] {
		r.missing++
		q := mux.Probe{Group: uint64(g.id), To: string(id), Term: api.Term(term), Answer: r.answers}
		g.host.mux.Probe(q, g.host.opts.Timing.HeartbeatTimeout)
	}
	r.asked = append(r.asked, r.others[:max(count, 0)]...)
	r.others = r.others[max(count, 0):]
}

// askVoters asks all other voters. Members without a vote are not asked, and nobody is if this
// replica is a majority by itself. The caller must call end.
func (i *instance) askVoters(servers []hraft.Server, term uint64) *voterRound {
	r := i.newRound(servers)
	if r.local < r.needed() {
		r.ask(len(r.others), term)
	}
	return r
}

func (r *voterRound) needed() int { return r.voters/2 + 1 }

// next waits for an answer; false when there are no more, or none in time, or soon fires before.
func (r *voterRound) next(soon <-chan time.Time) (mux.ProbeAnswer, bool) {
	if r.missing == 0 || r.over {
		r.missing = 0
		return mux.ProbeAnswer{}, false
	}
	select {
	case a := <-r.answers:
		r.missing--
		return a, true
	case <-soon:
		return mux.ProbeAnswer{}, false
	case <-r.timer.C:
	case <-r.instance.stop:
	}
	r.missing, r.over = 0, true
	return mux.ProbeAnswer{}, false
}

func (r *voterRound) end() { r.timer.Stop() }
