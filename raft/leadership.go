package raft

import (
	"errors"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// leadership is what leadLoop keeps between events.
type leadership struct {
	term   uint64 // of the latest election won
	tick   *Proposal
	retry  <-chan time.Time
	check  <-chan time.Time // whether it is stuck
	unhint <-chan time.Time
	// refused: the latest tick, or handing over, was refused because of a leadership transfer.
	refused bool

	// See clockcheck.go.
	askAgain   <-chan time.Time
	clocks     <-chan clockRound // of the check that runs
	handedOver <-chan error      // of the transfer that runs
	clockOff   bool              // as the latest check had it
	clockOf    map[string]int64  // what the latest check found the others to be ahead, in milliseconds

	// See spread.go.
	look   <-chan time.Time // whether the preferred leader is fit
	fitFor int              // how many looks in a row it was
	giving <-chan error     // of the transfer that runs
}

const (
	// tickRetry is short beside an election and long beside a tick.
	tickRetry = 20 * time.Millisecond
	// hintLasts is for how long timeouts stay short if no election follows.
	hintLasts = 2 * time.Second
)

// leadLoop follows the leadership of this replica: it makes a new leader ready, keeps it honest
// about its clock, gives the leadership to whoever should have it, and handles hints.
func (i *instance) leadLoop() {
	var l leadership
	for {
		var ticked <-chan struct{}
		if l.tick != nil {
			ticked = l.tick.done
		}
		select {
		case leads := <-i.raft.LeaderCh():
			i.onLeadership(&l, leads)
		case <-ticked:
			i.onTick(&l)
		case <-l.retry:
			i.proposeTick(&l)
		case <-l.check:
			i.onCheck(&l)
		case <-l.askAgain:
			i.checkClock(&l)
		case round := <-l.clocks:
			i.onClocks(&l, round)
		case err := <-l.handedOver:
			i.onHandedOver(&l, err)
		case <-i.wishes:
			i.onWish(&l)
		case <-l.look:
			i.onLook(&l)
		case err := <-l.giving:
			i.onGiven(&l, err)
		case <-i.transferFailed:
			i.onTransferFailed(&l)
		case <-i.hints:
			i.onHint(&l)
		case <-l.unhint:
			i.onHintOver(&l)
		case <-i.stop:
			return
		}
	}
}

// onLeadership handles a change. The library's channel keeps only the newest one: a second true
// means that the leadership was lost and won again, and a false may stand for a term of which
// nothing was heard.
func (i *instance) onLeadership(l *leadership, leads bool) {
	ready := i.group.readyTerm.Swap(0) == l.term && l.term != 0
	i.group.clockTrouble.Store(nil)
	old := *l
	*l = leadership{unhint: l.unhint}
	i.transport.EndEras()
	if !leads {
		i.maybeStandAgain(&old, ready)
		return
	}
	l.term = i.raft.CurrentTerm()
	l.check = time.After(i.stuckAfter())
	if l.unhint != nil {
		i.onHintOver(l)
	}
	if seededbug.Enabled(seededbug.RaftReadyWithoutTick) {
		i.becomeReady(l, l.term) // the bug: what earlier terms committed may not be known or applied here
		return
	}
	i.checkClock(l)
}

func (i *instance) proposeTick(l *leadership) {
	l.retry = nil
	l.tick = i.group.proposeUnready(i.group.opts.Tick())
}

// onTick makes the leader ready, or tries again while it leads.
func (i *instance) onTick(l *leadership) {
	err := l.tick.err
	l.tick = nil
	term := i.raft.CurrentTerm()
	if i.raft.State() != hraft.Leader || i.group.failed() {
		return // LeaderCh will say so
	}
	if l.clockOff {
		return // the check proposes another once the clock is right
	}
	if err == nil && term == l.term {
		l.check = nil
		if i.group.readyTerm.Load() != term {
			i.becomeReady(l, term)
		}
		return
	}
	l.refused = errors.Is(err, hraft.ErrLeadershipTransferInProgress)
	l.retry = time.After(tickRetry)
}

func (i *instance) becomeReady(l *leadership, term uint64) {
	i.group.everReady.Store(true)
	i.group.elections.Add(1)
	i.group.readyTerm.Store(term)
	i.group.logger.Info("leads raft group", "term", term)
	i.startLooking(l)
	if i.group.opts.OnLeader != nil {
		i.group.opts.OnLeader(api.Term(term))
	}
}

// stuckAfter is longer than any leadership transfer takes.
func (i *instance) stuckAfter() time.Duration { return 3 * i.group.host.opts.Timing.ElectionTimeout }

// onTransferFailed tries whether a leader still takes proposals after a transfer that failed, by
// another tick: the library may refuse them for ever (hashicorp/raft issue 696).
func (i *instance) onTransferFailed(l *leadership) {
	if i.raft.State() != hraft.Leader || l.check != nil {
		return // it leads no more, or is being watched already
	}
	l.check, l.refused = time.After(i.stuckAfter()), false
	if l.tick == nil && l.retry == nil {
		l.retry = time.After(tickRetry)
	}
}

// onCheck restarts a leader that still takes no proposals because of a transfer that ended long
// ago. A leader whose tick merely waits for a majority is not stuck.
func (i *instance) onCheck(l *leadership) {
	l.check = time.After(i.stuckAfter())
	if l.refused && i.raft.State() == hraft.Leader {
		i.group.requestRestart("an interrupted leadership transfer blocks it", func() error { return nil })
	}
}

// onHint makes the library look at once whether its leader is silent; see silence.go.
func (i *instance) onHint(l *leadership) {
	if l.unhint != nil {
		i.onHintOver(l) // only a change makes the library look
	}
	lease := i.group.host.opts.Timing.LeaderLease
	i.setTimeouts(lease, lease)
	l.unhint = time.After(hintLasts)
}

func (i *instance) onHintOver(l *leadership) {
	l.unhint = nil
	i.setTimeouts(i.group.host.opts.Timing.HeartbeatTimeout, i.group.host.opts.Timing.ElectionTimeout)
}

func (i *instance) setTimeouts(heartbeat, election time.Duration) {
	c := i.raft.ReloadableConfig()
	c.HeartbeatTimeout, c.ElectionTimeout = heartbeat, election
	if err := i.raft.ReloadConfig(c); err != nil {
		i.group.logger.Error("raft timeouts not changed", "error", err)
	}
}
