package raft

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	hraft "github.com/hashicorp/raft"
)

// Who leads decides what time it is in the group (R11).
//
// Time goes into the log from the leader's wall clock and never comes out again: state machines
// keep it from going back. One hour too far ahead, once, and until real time has caught up every
// deadline has passed and every session is gone. So a leader compares its clock with those of
// the other voters, by the frames that ReadIndex also uses: before its tick, which is the first
// time of its own in the log, and every clockInterval from then on. Where a majority, itself
// included, does not agree with it, it is not ready, which stops proposals and reads, and gives
// the leadership to the voter with which most agree. It asks again for as long as it leads. Where no
// majority can agree with any voter it keeps the leadership, which is then of no use to anybody, and the
// next one that it gives away for its clock it gives away later: without that the voters would hand it
// around without an end.
//
// A peer that does not answer says nothing about clocks. A new leader needs the answers of a
// majority, without which it could not commit its tick either. A leader that is ready stays it
// while nobody contradicts: without a majority it commits nothing and soon leads no more.

const (
	// clockInterval bounds for how long a clock that is set while its node leads is believed.
	// Shorter costs frames, one per peer and check.
	clockInterval = 2 * time.Second
	// clockPause is between the checks of a leader whose clock is off: an election fits into it.
	clockPause = time.Second
	// clockPatience, in looks, is how long a leader whose clock is off keeps its next leadership, after it gave
	// one away for that; it doubles each time up to maxClockPatience, until its clock is found right.
	clockPatience    = 2 * looksPerTimeout
	maxClockPatience = 600 * looksPerTimeout // five minutes
)

// clockDoubts is what a replica remembers of giving the leadership away for its clock, over its own terms.
// Owned by leadLoop.
type clockDoubts struct {
	given    uint64 // when, in the host's looks; 0 if never since the clock was right
	patience uint64 // looks until it may again
}

// mayGive reports whether the leadership may be given away, and notes that it is.
func (d *clockDoubts) mayGive(now uint64) bool {
	switch {
	case d.given == 0:
		d.patience = clockPatience
	case now-d.given < d.patience:
		return false
	default:
		d.patience = min(2*d.patience, maxClockPatience)
	}
	d.given = max(now, 1)
	return true
}

type clockVerdict uint8

const (
	clockUnknown clockVerdict = iota // too few answers, none of them against this clock
	clockAgrees                      // a majority agrees
	clockIsOff                       // no majority agrees, and somebody contradicts
)

// clockRound is what the voters' clocks showed.
type clockRound struct {
	verdict clockVerdict
	// successor is the voter that answered and agrees with most of those that did; empty if it cannot
	// find a majority, whatever those say that did not answer.
	successor string
	// offsetMillis are the answers, by replica.
	offsetMillis map[string]int64
}

// judgeClocks compares offsets of the voters' clocks from this node's. own is 1 if this replica votes.
func judgeClocks(offsets map[string]int64, own, voters, needed int, limit time.Duration) clockRound {
	round := clockRound{offsetMillis: offsets}
	// Not an absolute value: the lowest integer has none.
	near := func(millis int64) bool { return -limit.Milliseconds() <= millis && millis <= limit.Milliseconds() }
	contradicted, most, agreed := false, 0, own
	for replica, offset := range offsets {
		if near(offset) {
			agreed++
		} else {
			contradicted = true
		}
		with := 0
		if near(offset) {
			with = own
		}
		for _, other := range offsets {
			if near(other - offset) {
				with++
			}
		}
		if with > most || with == most && replica < round.successor {
			round.successor, most = replica, with
		}
	}
	if silent := voters - own - len(offsets); most+silent < needed {
		round.successor = ""
	}
	switch {
	case agreed >= needed:
		round.verdict = clockAgrees
	case contradicted:
		round.verdict = clockIsOff
	}
	return round
}

// askClocks asks the voters until it is known whether a majority agrees.
func (i *instance) askClocks(term uint64) clockRound {
	r := i.askVoters(i.raft.GetConfiguration().Configuration().Servers, term)
	defer r.end()
	limit := i.group.host.opts.MaxClockOffset
	offsets := make(map[string]int64)
	for {
		round := judgeClocks(offsets, r.local, r.voters, r.needed(), limit)
		if round.verdict == clockAgrees {
			return round
		}
		a, ok := r.next(nil)
		if !ok {
			return round
		}
		if a.HasClock {
			offsets[a.Replica] = a.OffsetMillis
		}
	}
}

// checkClock starts a check, whose result leadLoop handles.
func (i *instance) checkClock(l *leadership) {
	l.askAgain = nil
	rounds, term := make(chan clockRound, 1), l.term
	l.clocks = rounds
	i.run(func() { rounds <- i.askClocks(term) })
}

// onClocks makes a leader go on, or withdraws its readiness.
func (i *instance) onClocks(l *leadership, round clockRound) {
	l.clocks = nil
	if i.raft.State() != hraft.Leader || i.group.failed() {
		return // LeaderCh will say so
	}
	l.clockOf = round.offsetMillis
	ready := i.group.readyTerm.Load() == l.term
	switch round.verdict {
	case clockAgrees:
		l.askAgain = time.After(clockInterval)
		l.clockOff, i.group.doubts = false, clockDoubts{}
		i.noteOthersClocks(round)
		if !ready && l.tick == nil && l.retry == nil {
			i.proposeTick(l)
		}
	case clockIsOff:
		l.askAgain = time.After(clockPause)
		i.withdraw(l, round)
	default:
		l.askAgain = time.After(clockInterval)
		if !ready {
			l.askAgain = time.After(tickRetry)
		}
	}
}

// withdraw ends the readiness of a leader whose clock is off and tries to give the leadership
// away.
func (i *instance) withdraw(l *leadership, round clockRound) {
	g := i.group
	g.readyTerm.Store(0)
	l.retry = nil
	if !l.clockOff {
		trouble := "this node's clock is off against the majority of its peers; set it right, by NTP for one"
		if round.successor == "" {
			trouble = "no majority of the replicas has clocks that agree, so that none can lead; set them right, by NTP for one"
		}
		g.clockTrouble.Store(&trouble)
		g.logger.Error("does not lead: "+trouble, "peers_ahead_ms", round.offsetMillis, "allowed", g.host.opts.MaxClockOffset, "term", l.term)
	}
	l.clockOff, l.refused = true, false
	if l.check == nil {
		l.check = time.After(i.stuckAfter())
	}
	if l.handedOver == nil && round.successor != "" && g.doubts.mayGive(g.host.looks.Load()) {
		l.handedOver, _ = i.transfer(round.successor)
	}
}

// noteOthersClocks tells of voters whose clocks are off against a leader that a majority agrees with.
func (i *instance) noteOthersClocks(round clockRound) {
	g, limit := i.group, i.group.host.opts.MaxClockOffset.Milliseconds()
	var off []string
	for replica, offset := range round.offsetMillis {
		if offset < -limit || offset > limit {
			off = append(off, fmt.Sprintf("%s is %d ms ahead", replica, offset))
		}
	}
	if off == nil {
		g.clockTrouble.Store(nil)
		return
	}
	slices.Sort(off)
	trouble := "clocks are off, and their nodes cannot lead; set them right, by NTP for one: " + strings.Join(off, ", ")
	if g.clockTrouble.Swap(&trouble) == nil {
		g.logger.Warn(trouble)
	}
}

// ClockTrouble says what the latest comparison of clocks by this replica has against its own, or that of
// another voter; empty if nothing, or if it does not lead.
func (g *Group) ClockTrouble() string {
	if trouble := g.clockTrouble.Load(); trouble != nil {
		return *trouble
	}
	return ""
}

// onHandedOver notes how an attempt to give the leadership away ended. After a success LeaderCh
// says so as well.
func (i *instance) onHandedOver(l *leadership, err error) {
	l.handedOver = nil
	l.refused = errors.Is(err, hraft.ErrLeadershipTransferInProgress)
	if err != nil {
		i.group.logger.Warn("leadership not handed over, though the clock is off", "error", err)
	}
}
