package raft

import (
	hraft "github.com/hashicorp/raft"
)

// Leading again after a lease without answers.
//
// The library's leader steps down when it has heard no majority for a lease. On a machine with too few processors that
// happens to leaders that nothing is wrong with: the node stood still, and the library looks at the clock before it
// sees the answers that wait, or those of its followers stood still that would have answered. The followers then still
// follow it, refuse everybody else's pre-vote until their own timers are over, and elect another: a second or more
// without a leader, for all groups of the node at once, and then a leader elsewhere that gives the
// leadership back some seconds later. All of that is work that makes the machine later still.
//
// So a replica that was ready to lead, and steps down in a term that it knows no successor of, asks the voters. If a
// majority of them, itself included, answers and has not gone beyond that term, it stands for election at once. The
// question takes the place of the pre-vote, which the library leaves out for those who are told to stand: without an
// answer nothing is done, so that a leader that is cut off does not depose its successor when it is back (R22).
//
// A leader that did not become ready does not stand again: whoever takes votes and no entries must leave the
// election to others.

// maybeStandAgain stands for election again after the end of the leadership l, if that was ready in its term.
func (i *instance) maybeStandAgain(l *leadership, ready bool) {
	g := i.group
	if !ready || l.giving != nil || l.handedOver != nil || g.host.draining.Load() {
		return
	}
	term := l.term
	i.run(func() {
		if i.steppedDown(term) && i.confirmTerm(term) && i.steppedDown(term) && i.transport.Stand() {
			g.logger.Info("stands for election again: heard nobody for a lease, and a majority is there", "term", term)
		}
	})
}

// steppedDown reports whether this replica led in a term, does not any more, knows of nobody else, and could.
func (i *instance) steppedDown(term uint64) bool {
	leader, _ := i.raft.LeaderWithID()
	return i.CurrentTerm() == term && i.raft.State() == hraft.Follower && leader == "" && !i.Stalled()
}

// confirmTerm reports whether this replica has a vote and a majority of the voters answers and is not beyond a term.
func (i *instance) confirmTerm(term uint64) bool {
	r := i.askVoters(i.raft.GetConfiguration().Configuration().Servers, term)
	defer r.end()
	if r.local == 0 {
		return false
	}
	for granted := r.local; granted < r.needed(); {
		a, ok := r.next(nil)
		if !ok {
			return false
		}
		if a.Granted {
			granted++
		}
	}
	return true
}
