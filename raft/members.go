package raft

import (
	"context"
	"errors"
	"slices"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
)

// Changing the members of a group.
//
// Whoever moves replicas gives one order at a time to the leader: add a learner, make a learner a voter, remove
// a member. Each says what the membership shall be, not what is to be done: it succeeds at once if that
// is so already, and can be repeated after any error until it succeeds, on the next leader too. What it is
// decided by is the committed membership, as a read sees it, and it is proposed for exactly that one:
// the library refuses it if another came between (R18).
//
// A change never makes a majority out of replicas that do not answer: the voters that would count afterwards
// and that have just answered must be a majority of them. A learner becomes a voter only when it has caught up:
// it misses few entries, and what the log held at one moment reaches it within an election timeout. A leader that
// is to be removed gives its office away first.

// Member is a member of a group as its leader sees it.
type Member struct {
	Server
	// LastLog is where its log ends, at most where the leader's does; 0 if it has not answered in this term.
	LastLog api.Index
	// MissingEntries and MissingBytes are how far it is behind the leader's log. The bytes are an estimate
	// by the mean of the entries there, and bound a log that was cut from below.
	MissingEntries uint64
	MissingBytes   int64
	// Contact is how long ago it answered last, negative if it has not in this term.
	Contact time.Duration
	// CaughtUp says that it answers and misses few entries. Promote looks closer.
	CaughtUp bool
}

// Membership is the committed membership of a group, with what the leader knows of the members.
type Membership struct {
	Configuration Configuration
	Leader        ReplicaID
	Term          api.Term
	LastLog       api.Index
	// Changing says that the latest membership is not committed yet: the next change has to wait.
	Changing bool
	Members  []Member
}

// maxPromoteLag is how many entries a learner may miss that is to vote. They take part in the first
// commits that count on it: at full load a few hundred are on their way to any follower.
const maxPromoteLag = 1000

// Membership is the committed membership as of a moment in the call, confirmed as a read is. Only the ready leader
// can tell; others answer NOT_LEADER with a hint.
func (g *Group) Membership(ctx context.Context) (Membership, error) {
	i, c, pending, err := g.members(ctx)
	if err != nil {
		return Membership{}, err
	}
	_, term := g.Leader()
	last, _ := g.store.LastIndex() // held in memory
	m := Membership{Configuration: c, Leader: g.replica, Term: term, LastLog: api.Index(last), Changing: pending}
	for _, s := range c.Servers {
		m.Members = append(m.Members, i.member(s, last))
	}
	return m, nil
}

// members are the committed ones, as of a moment in the call. pending says that the library has another membership, which
// is not committed or not applied.
func (g *Group) members(ctx context.Context) (i *instance, c Configuration, pending bool, err error) {
	if _, err := g.ReadIndex(ctx); err != nil {
		return nil, c, false, err
	}
	// The commit index of the read is applied, and with it the last membership that was committed by then.
	i, c = g.current.Load(), g.applier.members()
	pending = !slices.Equal(i.raft.GetConfiguration().Configuration().Servers, c.toLibrary().Servers)
	return i, c, pending, nil
}

// member is what this leader knows of one member.
func (i *instance) member(s Server, last uint64) Member {
	g := i.group
	m := Member{Server: s, Contact: -1}
	if s.Replica == g.replica {
		m.LastLog, m.Contact, m.CaughtUp = api.Index(last), 0, true
		return m
	}
	a, ok := i.progress.of(s.Replica.String())
	if ok {
		m.LastLog = api.Index(min(a.lastLog, last))
		looks := g.host.looks.Load() - min(a.look, g.host.looks.Load())
		m.Contact = time.Duration(looks) * g.host.opts.Timing.HeartbeatTimeout / looksPerTimeout
	}
	m.MissingEntries = last - uint64(m.LastLog)
	m.MissingBytes = g.bytesOf(m.MissingEntries, last)
	_, healthy := i.healthy(s.Replica.String())
	m.CaughtUp = healthy && m.MissingEntries <= maxPromoteLag
	return m
}

// bytesOf estimates what so many entries at the end of the log take.
func (g *Group) bytesOf(count, last uint64) int64 {
	sized, ok := g.store.(sizedLog)
	first, _ := g.store.FirstIndex() // held in memory
	if !ok || first == 0 || last < first || count == 0 {
		return 0
	}
	held := last - first + 1
	return int64(float64(sized.EntryBytes()) * float64(min(count, held)) / float64(held))
}

// AddLearner makes r a member that receives the log and does not count. The index is that of the committed membership
// that has it, as a learner or as a voter. previous is the index of the membership that the caller
// has seen, 0 for any.
func (g *Group) AddLearner(ctx context.Context, r ReplicaID, previous api.Index) (api.Index, error) {
	id := r.String()
	return g.change(ctx, previous, change{
		done: func(c Configuration) bool { _, ok := c.find(r); return ok },
		check: func(_ *instance, c Configuration) error {
			if s, ok := c.onNode(r.Node); ok {
				return api.Errorf(api.CodeInvalid, "group %s has the replica %s on that node; remove it before %s is added", g.id, s.Replica, r)
			}
			if len(c.Servers) >= maxServers {
				return api.Errorf(api.CodeInvalid, "group %s has %d members, which is the limit", g.id, len(c.Servers))
			}
			return nil
		},
		ask: func(i *instance, previous uint64, wait time.Duration) hraft.IndexFuture {
			return i.raft.AddNonvoter(hraft.ServerID(id), hraft.ServerAddress(id), previous, wait)
		},
	})
}

// Promote makes a learner a voter, or says why it cannot be one yet. The index is that of the committed membership in
// which it votes. It takes an election timeout at most to find out whether the learner follows.
func (g *Group) Promote(ctx context.Context, r ReplicaID, previous api.Index) (api.Index, error) {
	id := r.String()
	return g.change(ctx, previous, change{
		done: func(c Configuration) bool { s, _ := c.find(r); return s.Voter },
		check: func(i *instance, c Configuration) error {
			if _, ok := c.find(r); !ok {
				return api.Errorf(api.CodeInvalid, "group %s has no member %s: add it as a learner first", g.id, r)
			}
			if err := i.awaitCaughtUp(ctx, r); err != nil {
				return err
			}
			return i.keepsMajority(append(c.Voters(), r))
		},
		ask: func(i *instance, previous uint64, wait time.Duration) hraft.IndexFuture {
			return i.raft.AddVoter(hraft.ServerID(id), hraft.ServerAddress(id), previous, wait)
		},
	})
}

// Remove takes a member out. The index is that of a committed membership without it: from then on its data is of no
// use to the group. At least keep voters must remain. A leader that is to remove itself gives the
// leadership away and answers NOT_LEADER: the next one can.
func (g *Group) Remove(ctx context.Context, r ReplicaID, previous api.Index, keep int) (api.Index, error) {
	id := r.String()
	return g.change(ctx, previous, change{
		done: func(c Configuration) bool { _, ok := c.find(r); return !ok },
		check: func(i *instance, c Configuration) error {
			if s, _ := c.find(r); !s.Voter {
				return nil
			}
			rest := slices.DeleteFunc(c.Voters(), func(v ReplicaID) bool { return v == r })
			if len(rest) < max(keep, 1) {
				return api.Errorf(api.CodeUnavailable, "group %s would keep %d voters without %s, at least %d must remain: add another one first", g.id, len(rest), r, max(keep, 1))
			}
			if err := i.keepsMajority(rest); err != nil || r != g.replica {
				return err
			}
			if err := g.TransferLeadership(ctx); err != nil {
				return api.Errorf(api.CodeUnavailable, "remove the leader %s: %w", r, err)
			}
			return g.notLeader("group %s: the replica %s has given the leadership away, so that it can be removed", g.id, r)
		},
		ask: func(i *instance, previous uint64, wait time.Duration) hraft.IndexFuture {
			return i.raft.RemoveServer(hraft.ServerID(id), previous, wait)
		},
	})
}

// change is one change of the membership.
type change struct {
	// done reports whether a membership is already as it shall be.
	done func(Configuration) bool
	// check says what speaks against the change of a membership.
	check func(*instance, Configuration) error
	// ask gives the change to the library, for the membership of the entry previous.
	ask func(i *instance, previous uint64, wait time.Duration) hraft.IndexFuture
}

func (g *Group) change(ctx context.Context, previous api.Index, o change) (api.Index, error) {
	i, c, pending, err := g.members(ctx)
	switch {
	case err != nil:
		return 0, err
	case pending:
		return 0, api.Errorf(api.CodeUnavailable, "group %s: another change of the members is not committed yet", g.id)
	case o.done(c):
		return c.Index, nil
	case previous != 0 && previous != c.Index:
		return 0, api.Errorf(api.CodeUnavailable, "group %s: the membership is that of entry %d, the change is meant for that of entry %d", g.id, c.Index, previous)
	}
	if err := o.check(i, c); err != nil {
		return 0, err
	}
	result := make(chan changed, 1)
	if !i.run(func() { result <- i.ask(o, uint64(c.Index)) }) {
		return 0, g.notLeader("group %s is stopping here", g.id)
	}
	select {
	case r := <-result:
		if r.err != nil {
			return 0, g.classify(r.err)
		}
		return api.Index(r.index), g.applier.wait(ctx, r.index, g.closing)
	case <-ctx.Done():
		return 0, api.Errorf(api.CodeUnknownOutcome, "stopped waiting for a change of the members of group %s: %w", g.id, ctx.Err())
	}
}

// changed is how a change ended.
type changed struct {
	index uint64
	err   error
}

// ask waits until the library has committed a change, or will not.
func (i *instance) ask(o change, previous uint64) changed {
	f := o.ask(i, previous, i.group.host.opts.Timing.ElectionTimeout)
	abandonable(f, i.stopped)
	if err := f.Error(); err != nil {
		return changed{err: err}
	}
	return changed{index: f.Index()}
}

// keepsMajority refuses voters of which no majority answers.
func (i *instance) keepsMajority(voters []ReplicaID) error {
	answering := 0
	var silent []string
	for _, v := range voters {
		if _, ok := i.healthy(v.String()); ok || v == i.group.replica {
			answering++
			continue
		}
		silent = append(silent, v.String())
	}
	if 2*answering > len(voters) {
		return nil
	}
	return api.Errorf(api.CodeUnavailable, "group %s: of the %d voters that there would be, these do not answer: %s", i.group.id, len(voters), silent)
}

var errLearnerBehind = errors.New("the learner has not caught up")

// awaitCaughtUp returns when what the log holds now has reached a learner, within an election timeout.
func (i *instance) awaitCaughtUp(ctx context.Context, r ReplicaID) error {
	t, id := i.group.host.opts.Timing, r.String()
	target, _ := i.group.store.LastIndex() // held in memory
	began := i.group.host.looks.Load()
	if a, ok := i.healthy(id); !ok || a.lastLog+maxPromoteLag < target {
		return api.Errorf(api.CodeUnavailable, "group %s: %s: %w: its log ends at %d, the leader's at %d", i.group.id, r, errLearnerBehind, a.lastLog, target)
	}
	round := time.NewTimer(t.ElectionTimeout)
	defer round.Stop()
	look := time.NewTicker(t.HeartbeatTimeout / looksPerTimeout)
	defer look.Stop()
	for {
		select {
		case <-look.C:
		case <-round.C:
			a, _ := i.progress.of(id)
			return api.Errorf(api.CodeUnavailable, "group %s: %s: %w: its log ends at %d, entry %d has not reached it within %s", i.group.id, r, errLearnerBehind, a.lastLog, target, t.ElectionTimeout)
		case <-ctx.Done():
			return api.Errorf(api.CodeExpired, "group %s: wait for %s to catch up: %w", i.group.id, r, ctx.Err())
		case <-i.stop:
			return i.group.notLeader("group %s is stopping here", i.group.id)
		}
		// An answer of this round says that it lives.
		if a, ok := i.healthy(id); ok && a.look > began && a.lastLog >= target {
			return nil
		}
	}
}

// find is a member by its identity.
func (c Configuration) find(r ReplicaID) (Server, bool) {
	for _, s := range c.Servers {
		if s.Replica == r {
			return s, true
		}
	}
	return Server{}, false
}

// onNode is the member on a node; there is one at most.
func (c Configuration) onNode(node api.NodeID) (Server, bool) {
	for _, s := range c.Servers {
		if s.Replica.Node == node {
			return s, true
		}
	}
	return Server{}, false
}
