package shard

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/raft"
)

// electorate is a group in which the test is Raft: one log, three replicas whose clocks jump,
// leaders that change while entries are on their way and while reads are half done.
type electorate struct {
	t      *testing.T
	rng    *rand.Rand
	nodes  []*elector
	leader *elector
	term   api.Term

	log       []raft.Entry // committed
	index     api.Index    // last, committed or not
	flight    []*flight    // proposed by the leader and not committed, in log order
	keys      map[string]*mortal
	readDepth int
	restless  int // 0 to 3: how much goes on during a read

	revived, refused, absentReads, liveReads, changes, ticksAhead int

	// What the reads by proof add, in stale_random_test.go.
	stopwatch *clock.Manual // true time
	progress  int64
	acked     []ack
	stale     staleCounts
}

type elector struct {
	*bench
	wall    *clock.Manual
	clock   *hybridClock
	reads   reader
	applied int // entries of the log
}

// flight is an entry on its way; key is what it tries to revive, empty for others.
type flight struct {
	entry raft.Entry
	time  api.Version
	key   string
	// progress is the number that it writes, 0 for others.
	progress int64
}

// mortal is a key that was put with an expiry and that some later write may revive while it is
// alive: put it again, without expiry, on the condition that it is present.
type mortal struct {
	absent  bool // somebody was told that it is absent
	revived bool // a revival was applied
	from    int  // the length of the log with the entry that puts it
}

func newElectorate(t *testing.T, rng *rand.Rand) *electorate {
	e := &electorate{
		t: t, rng: rng, keys: map[string]*mortal{}, restless: rng.IntN(4), stopwatch: clock.NewManual(time.UnixMilli(1)),
	}
	for range 3 {
		n := &elector{bench: newBench(t), wall: clock.NewManual(time.UnixMilli(int64(startMillis)))}
		n.clock = &hybridClock{wall: n.wall}
		n.reads = reader{id: 7, machine: n.m, clock: n.clock}
		n.reads.confirm = func(context.Context) error { return e.confirm(n) }
		n.reads.tick = func(context.Context) error { return e.tick(n) }
		n.reads.tickSoon = func() { e.tickSoon(n) }
		n.reads.proofs = newProofs(e.stopwatch, func(ctx context.Context, _ AskLeader) (Proof, error) { return e.prove(ctx) })
		n.reads.applied = func(_ context.Context, index api.Index) error { return e.reach(n, index) }
		e.nodes = append(e.nodes, n)
	}
	e.elect()
	return e
}

var errDeposed = api.Errorf(api.CodeNotLeader, "deposed")

// confirm is ReadIndex: the node led when it was called, and a leader here has applied whatever
// is committed. Before the read goes on anything may happen.
func (e *electorate) confirm(n *elector) error {
	if e.leader != n {
		return errDeposed
	}
	for e.readDepth < 3 && e.rng.IntN(4) < e.restless {
		e.step()
	}
	return nil
}

func (e *electorate) tick(n *elector) error {
	if e.leader != n {
		return errDeposed
	}
	e.proposeTick()
	e.commit(len(e.flight))
	return nil
}

// tickSoon lets a tick into flight, where anything may happen to it.
func (e *electorate) tickSoon(n *elector) {
	if e.leader == n && len(e.flight) < maxInFlight {
		e.proposeTick()
		e.ticksAhead++
	}
}

// proposeTick proposes as the proposer does: reads do not mind a tick on its way.
func (e *electorate) proposeTick() {
	t := e.leader.clock.stamp(1, e.leader.m.state().last)
	e.append(&flight{time: t}, t, encodeTick())
}

func (e *electorate) propose(key string, command []byte) {
	n := e.leader
	t := n.clock.begin(1, n.m.state().last)
	e.append(&flight{time: t, key: key}, t, command)
}

func (e *electorate) append(f *flight, t api.Version, commands ...[]byte) {
	e.index++
	f.entry = raft.Entry{Index: e.index, Term: e.term, Data: EncodeEntry(Entry{
		Time: t, CeilingMillis: t.Millis() + maxCeilingAheadMillis, Run: uint64(t), Commands: commands,
	})}
	e.flight = append(e.flight, f)
}

// commit commits the first n entries on their way; the leader applies them.
func (e *electorate) commit(n int) {
	for _, f := range e.flight[:n] {
		e.log = append(e.log, f.entry)
		e.catchUp(e.leader, f)
		e.leader.clock.settle(f.time)
	}
	e.flight = e.flight[n:]
}

// catchUp lets a node apply the log. newest is what its last entry was about, if nobody has
// applied it before.
func (e *electorate) catchUp(n *elector, newest *flight) {
	for n.applied < len(e.log) {
		answers := n.apply(e.log[n.applied])[0]
		n.applied++
		if newest != nil && n.applied == len(e.log) && newest.progress > 0 {
			e.acked = append(e.acked, ack{at: e.stopwatch.Now(), progress: newest.progress})
		}
		if newest == nil || n.applied < len(e.log) || newest.key == "" {
			continue
		}
		k := e.keys[newest.key]
		switch {
		case !answers[0].Result.Applied:
			k.absent = true
			e.refused++
		case k.absent:
			e.t.Fatalf("%s was found alive after it was found expired", newest.key)
		default:
			k.revived = true
			e.revived++
		}
	}
}

// elect makes a node the leader of a new term. Of what the old one had on its way, some prefix
// reached the new one's log.
func (e *electorate) elect() {
	if e.leader != nil {
		for _, f := range e.flight {
			e.leader.clock.abandon(f.time, e.term)
		}
		e.changes++
	}
	kept := e.flight[:e.rng.IntN(len(e.flight)+1)]
	e.flight = nil
	e.term++
	n := e.nodes[e.rng.IntN(len(e.nodes))]
	e.leader = n
	e.catchUp(n, nil)
	for _, f := range kept {
		e.log = append(e.log, f.entry)
		e.index = f.entry.Index
		e.catchUp(n, f)
	}
	commands := [][]byte{encodeTick()}
	if !n.m.state().configured {
		commands = [][]byte{encodeConfigure(fullArc(0)), encodeTick()}
	}
	t := n.clock.stamp(len(commands), n.m.state().last)
	e.append(&flight{time: t}, t, commands...)
	e.commit(1)
}

func (e *electorate) step() {
	for _, n := range e.nodes {
		n.wall.Advance(time.Duration(e.rng.IntN(30)) * time.Millisecond)
	}
	e.stopwatch.Advance(time.Duration(e.rng.IntN(30)) * time.Millisecond)
	switch n := e.nodes[e.rng.IntN(len(e.nodes))]; e.rng.IntN(22) {
	case 0:
		e.elect()
	case 1, 20, 21:
		n.wall.Advance(time.Duration(e.rng.IntN(2000)-1000) * time.Millisecond)
	case 2, 3:
		e.catchUp(n, nil)
	case 4, 5, 6:
		e.commit(e.rng.IntN(len(e.flight) + 1))
	case 7, 8:
		key := fmt.Sprint("key-", len(e.keys))
		op := put(key, "mortal")
		op.Expiry = api.Expiry{Mode: api.ExpiryAfter, Millis: 1 + e.rng.Uint64N(1000)}
		e.propose("", EncodeCommand(batch(op)))
		e.commit(len(e.flight))
		e.keys[key] = &mortal{from: len(e.log)}
	case 9, 10, 11, 12:
		if key := e.recent(); key != "" && !e.keys[key].revived && len(e.flight) < maxInFlight {
			e.propose(key, EncodeCommand(batch(when(put(key, "revived"), api.ConditionPresent, 0))))
		}
	default:
		if key := e.recent(); key != "" {
			e.read(n, key)
		}
	}
}

func (e *electorate) recent() string {
	if len(e.keys) == 0 {
		return ""
	}
	return fmt.Sprint("key-", max(0, len(e.keys)-1-e.rng.IntN(3)))
}

func (e *electorate) read(n *elector, key string) {
	k := e.keys[key]
	absentBefore := k.absent
	e.readDepth++
	items, err := n.reads.Get(context.Background(), 1, 0, [][]byte{[]byte(key)})
	e.readDepth--
	switch {
	case err != nil:
		if code := api.CodeOf(err); code != api.CodeNotLeader {
			e.t.Fatalf("read: %v", err)
		}
	case items[0].Found:
		e.liveReads++
		if absentBefore {
			e.t.Fatalf("%s was read alive after it was found expired", key)
		}
	default:
		// Not even while the read went on: before the revival the key was not expired, and
		// afterwards it never is.
		if e.absentReads++; k.revived {
			e.t.Fatalf("%s was read absent although it was revived", key)
		}
		k.absent = true
	}
}

// S3, against leaders that change and clocks that jump.
func TestWhatWasSeenExpiredStaysExpired(t *testing.T) {
	rng := testkit.Rand(t)
	ticksAhead := 0
	for range 60 {
		e := newElectorate(t, rng)
		for range 1000 {
			e.step()
		}
		for _, n := range e.nodes {
			n.close()
		}
		ticksAhead += e.ticksAhead
		if e.revived == 0 || e.refused == 0 || e.absentReads == 0 || e.liveReads == 0 || e.changes < 10 {
			t.Fatalf("the run tested nothing: %d revived, %d refused, %d absent, %d live, %d changes",
				e.revived, e.refused, e.absentReads, e.liveReads, e.changes)
		}
	}
	if ticksAhead == 0 {
		t.Error("no read began a tick that it did not need")
	}
}

// A deposed leader may have read the wall clock, but not used it: what it calls expired must lie
// below the ceiling that was committed while it was known to lead.
func TestNobodyIsToldOfAnExpiryAboveTheCeilingHeldWhileLeading(t *testing.T) {
	for name, meanwhile := range map[string]func(b *bench){
		"nothing happens": func(*bench) {},
		// Its time is far below its ceiling, and it may yet find the key alive.
		"another leader raises the ceiling": func(b *bench) {
			b.index++
			b.apply(raft.Entry{Index: b.index, Term: 2, Data: EncodeEntry(Entry{
				Time: api.VersionAt(b.now + 1), CeilingMillis: b.now + 60_000, Run: uint64(b.index), Commands: [][]byte{encodeTick()},
			})})
		},
	} {
		b := configuredBench(t)
		expiry := b.now + 2*maxCeilingAheadMillis
		b.must(putUntil("k", "v", expiry))
		wall := clock.NewManual(time.UnixMilli(int64(expiry)))
		ticks := 0
		r := reader{id: 7, machine: b.m, clock: &hybridClock{wall: wall}, tickSoon: func() {}}
		r.confirm = func(context.Context) error {
			meanwhile(b)
			return nil
		}
		r.tick = func(context.Context) error {
			ticks++
			return errDeposed
		}
		items, err := r.Get(t.Context(), 1, 0, [][]byte{[]byte("k")})
		if ticks != 1 || api.CodeOf(err) != api.CodeNotLeader {
			t.Errorf("%s: %+v, %v after %d ticks, want a tick that fails", name, items, err, ticks)
		}
	}
}
