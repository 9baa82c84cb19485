package shard

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/raft"
)

// randomLog makes a log with everything in it: writes with and without request ids, duplicates,
// ticks, memberships, new terms, clocks that jump, keys that expire, entries of other epochs.
func randomLog(rng *rand.Rand, entries int) []raft.Entry {
	now, term := startMillis, api.Term(1)
	run, sequence := uint64(1), uint64(0)
	encode := func(commands ...[]byte) []byte {
		e := Entry{Time: api.VersionAt(now), CeilingMillis: now + maxCeilingAheadMillis, Run: run, Sequence: sequence, Commands: commands}
		switch sequence++; rng.IntN(12) {
		case 0:
			run, sequence = run+1, 0
		case 1:
			sequence++ // an entry that the log refused: the rest of the run is not applied
		}
		return EncodeEntry(e)
	}
	log := []raft.Entry{{Index: 1, Term: 1, Data: encode(encodeConfigure(fullArc(2000)), encodeTick())}}
	var sent [][]byte
	for len(log) < entries {
		index := log[len(log)-1].Index + 1 + api.Index(rng.IntN(2)) // holes, as Raft leaves them
		now += []uint64{0, 1, 1, 50, 3000}[rng.IntN(5)]
		switch rng.IntN(40) {
		case 0:
			term++
			now -= min(now-startMillis, rng.Uint64N(5000))
		case 1:
			now += sessionHorizonMillis
		}
		if rng.IntN(25) == 0 {
			c := &raft.Configuration{Index: index, Servers: []raft.Server{{Replica: raft.ReplicaID{Node: "n", Incarnation: uint64(index)}, Voter: true}}}
			log = append(log, raft.Entry{Index: index, Term: term, Configuration: c})
			continue
		}
		var commands [][]byte
		if rng.IntN(6) == 0 {
			commands = append(commands, encodeTick())
		}
		for range rng.IntN(6) {
			if len(sent) > 0 && rng.IntN(5) == 0 {
				commands = append(commands, sent[rng.IntN(len(sent))])
				continue
			}
			commands = append(commands, EncodeCommand(smallCommand(rng, now)))
			sent = append(sent, commands[len(commands)-1])
		}
		if rng.IntN(10) == 0 {
			commands = append(commands, encodeTick())
		}
		log = append(log, raft.Entry{Index: index, Term: term, Data: encode(commands...)})
	}
	return log
}

// smallCommand works on few keys and few sessions, so that things meet.
func smallCommand(rng *rand.Rand, now uint64) Command {
	c := Command{Epoch: 1}
	if rng.IntN(20) == 0 {
		c.Epoch = 2
	}
	if rng.IntN(8) == 0 {
		c.DeadlineMillis = now + rng.Uint64N(20) - 10
	}
	if rng.IntN(3) > 0 {
		sequence := 1 + rng.Uint64N(30)
		c.Request = api.RequestID{
			Session:  api.SessionID{CreatedMillis: now - rng.Uint64N(3), Random: rng.Uint64N(3)},
			Sequence: sequence, Floor: sequence - min(sequence, rng.Uint64N(12)),
		}
	}
	c.Batch = smallBatch(rng, now)
	return c
}

// smallBatch makes batches of both sorts, with steps.
func smallBatch(rng *rand.Rand, now uint64) api.Batch {
	b := api.Batch{Independent: rng.IntN(2) == 0}
	for range 1 + rng.IntN(6) {
		b.Ops = append(b.Ops, smallOp(rng, now))
	}
	return b
}

func smallOp(rng *rand.Rand, now uint64) api.Op {
	name := func() []byte { return fmt.Appendf(nil, "key-%d", rng.IntN(12)) }
	op := api.Op{
		Kind: api.OpKind(1 + rng.IntN(int(api.OpRename))), Key: name(), ReturnPrevious: rng.IntN(2) == 0,
		Joined: rng.IntN(3) == 0, Blind: rng.IntN(2) == 0, Expiry: api.Expiry{Mode: api.ExpiryMode(rng.IntN(4))},
	}
	if rng.IntN(3) == 0 {
		op.Condition.Kind = api.ConditionKind(rng.IntN(int(api.ConditionExpiringSooner) + 1))
	}
	switch op.Expiry.Mode {
	case api.ExpiryAt:
		op.Expiry.Millis = now + rng.Uint64N(6000) - 500
	case api.ExpiryAfter:
		op.Expiry.Millis = rng.Uint64N(5000)
	}
	switch op.Kind {
	case api.OpPut, api.OpAppend:
		if op.Value = strconv.AppendInt(nil, rng.Int64N(100), 10); rng.IntN(3) == 0 {
			op.Value = randomBytes(rng, 0, 2000)
		}
	case api.OpIncrement:
		op.Delta = []int64{rng.Int64N(9) - 4, math.MaxInt64, math.MinInt64}[rng.IntN(40)/19]
	case api.OpExpire:
		if op.Expiry.Mode == api.ExpiryKeep {
			op.Expiry.Mode = api.ExpiryNone
		}
	case api.OpSetRange:
		op.Offset, op.Value = rng.Uint64N(8), randomBytes(rng, 0, 3)
		if rng.IntN(10) == 0 {
			op.Offset = rng.Uint64()
		}
	case api.OpSetBit:
		op.Offset, op.Delta = rng.Uint64N(64), rng.Int64N(2)
	case api.OpIncrementFloat:
		op.Value = []byte([]string{"0.25", "-1.5", "3", "1e2", "one"}[rng.IntN(5)])
	case api.OpCopy, api.OpRename:
		op.Source = name()
	}
	return op
}

// S1, S6: the same log gives the same state and the same answers, whatever happens around it.
func TestApplyIsDeterministic(t *testing.T) {
	rng := testkit.Rand(t)
	for range 4 {
		log := randomLog(rng, 600)
		reference := newBench(t)
		answers := map[api.Index]any{}
		for _, e := range log {
			r, err := reference.m.Apply([]raft.Entry{e})
			if err != nil {
				t.Fatal(err)
			}
			answers[e.Index] = r[0]
		}
		want := reference.digest()
		for range 3 {
			b := newBench(t)
			replayRandomly(b, rng, log, answers)
			if got := b.digest(); got != want {
				t.Fatalf("digest %s, want %s\n%+v\n%+v", got, want, b.m.state(), reference.m.state())
			}
			reflectEqual(t, *b.m.state(), *reference.m.state())
		}
	}
}

func reflectEqual(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, want %+v", got, want)
	}
}

// replayRandomly applies a log in random runs, with flushes, compactions, restarts, crashes and
// installations of its own checkpoints in between.
func replayRandomly(b *bench, rng *rand.Rand, log []raft.Entry, answers map[api.Index]any) {
	b.t.Helper()
	next := 0
	for next < len(log) {
		n := min(1+rng.IntN(60), len(log)-next)
		results, err := b.m.Apply(log[next : next+n])
		if err != nil {
			b.t.Fatal(err)
		}
		for i, r := range results {
			reflectEqualBench(b, log[next+i].Index, r, answers)
		}
		next += n
		switch rng.IntN(8) {
		case 0:
			b.flush()
		case 1:
			b.compact()
		case 2:
			b.close()
			b.open()
		case 3:
			next = after(log, b.crash(rng).Index)
		case 4:
			if _, err := b.m.Checkpoint("/data/checkpoint"); err != nil {
				b.t.Fatal(err)
			}
			if err := b.m.Install("/data/checkpoint"); err != nil {
				b.t.Fatal(err)
			}
		}
	}
}

func reflectEqualBench(b *bench, index api.Index, got any, answers map[api.Index]any) {
	b.t.Helper()
	if want := answers[index]; !reflect.DeepEqual(got, want) {
		b.t.Fatalf("entry %d: answers %+v, want %+v", index, got, want)
	}
}

// after is the place in the log of the first entry above an index.
func after(log []raft.Entry, index api.Index) int {
	for i := range log {
		if log[i].Index > index {
			return i
		}
	}
	return len(log)
}

func (b *bench) flush() {
	b.t.Helper()
	if err := b.m.Flush(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) compact() {
	b.t.Helper()
	h, err := b.m.store.Acquire()
	if err != nil {
		b.t.Fatal(err)
	}
	defer h.Release()
	if err := h.DB.Flush(); err != nil {
		b.t.Fatal(err)
	}
	if err := h.DB.Compact(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}
