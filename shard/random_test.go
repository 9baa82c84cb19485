package shard

import (
	"context"
	"fmt"
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
	encode := func(commands ...[]byte) []byte {
		return EncodeEntry(Entry{Time: api.VersionAt(now), CeilingMillis: now + maxCeilingAheadMillis, Commands: commands})
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
	for range 1 + rng.IntN(4) {
		c.Batch.Ops = append(c.Batch.Ops, smallOp(rng, now))
	}
	return c
}

func smallOp(rng *rand.Rand, now uint64) api.Op {
	op := api.Op{
		Kind: api.OpKind(1 + rng.IntN(4)), Key: fmt.Appendf(nil, "key-%d", rng.IntN(12)), ReturnPrevious: rng.IntN(2) == 0,
		Expiry: api.Expiry{Mode: api.ExpiryMode(rng.IntN(4))},
	}
	if rng.IntN(3) == 0 {
		op.Condition.Kind = api.ConditionKind(rng.IntN(4))
	}
	switch op.Expiry.Mode {
	case api.ExpiryAt:
		op.Expiry.Millis = now + rng.Uint64N(6000) - 500
	case api.ExpiryAfter:
		op.Expiry.Millis = rng.Uint64N(5000)
	}
	switch {
	case op.Kind == api.OpPut && rng.IntN(2) == 0:
		op.Value = strconv.AppendInt(nil, rng.Int64N(100), 10)
	case op.Kind == api.OpPut:
		op.Value = randomBytes(rng, 0, 2000)
	case op.Kind == api.OpIncrement:
		op.Delta = rng.Int64N(9) - 4
	case op.Kind == api.OpExpire && op.Expiry.Mode == api.ExpiryKeep:
		op.Expiry.Mode = api.ExpiryNone
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
	h, err := b.m.store.acquire()
	if err != nil {
		b.t.Fatal(err)
	}
	defer h.release()
	if err := h.db.Flush(); err != nil {
		b.t.Fatal(err)
	}
	if err := h.db.Compact(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

// modelKey is a key in the model: what a reader of the documentation would expect.
type modelKey struct {
	value   string
	version api.Version
	expiry  uint64
}

// model is the state as plain maps.
type model map[string]modelKey

func (m model) live(key string, now uint64) (modelKey, bool) {
	k, ok := m[key]
	if ok && k.expiry != 0 && k.expiry <= now {
		return modelKey{}, false
	}
	return k, ok
}

// apply is a naive evaluation: copy everything, run, keep or drop the copy.
func (m model) apply(ops []api.Op, v api.Version) (model, api.Result, bool) {
	next := make(model, len(m))
	for k, row := range m {
		next[k] = row
	}
	now := v.Millis()
	res := api.Result{Applied: true, Version: v}
	for i, op := range ops {
		k, existed := next.live(string(op.Key), now)
		o := api.OpResult{Existed: existed, PreviousVersion: k.version, PreviousExpiry: k.expiry}
		if existed && op.ReturnPrevious {
			o.Previous = []byte(k.value)
		}
		c := op.Condition
		if c.Kind == api.ConditionAbsent && existed || c.Kind == api.ConditionPresent && !existed || c.Kind == api.ConditionVersion && c.Version != k.version {
			return m, api.Result{FailedOp: i, Ops: append(res.Ops, o)}, true
		}
		var expiry uint64
		switch op.Expiry.Mode {
		case api.ExpiryKeep:
			expiry = k.expiry
		case api.ExpiryAt:
			expiry = max(op.Expiry.Millis, 1)
		case api.ExpiryAfter:
			expiry = now + op.Expiry.Millis
		}
		switch op.Kind {
		case api.OpPut:
			next[string(op.Key)] = modelKey{string(op.Value), v, expiry}
		case api.OpDelete:
			delete(next, string(op.Key))
		case api.OpIncrement:
			n := int64(0)
			if existed {
				var err error
				if n, err = strconv.ParseInt(k.value, 10, 64); err != nil || strconv.FormatInt(n, 10) != k.value {
					return m, api.Result{}, false
				}
			}
			o.Number = n + op.Delta
			next[string(op.Key)] = modelKey{strconv.FormatInt(o.Number, 10), v, k.expiry}
		case api.OpExpire:
			if existed && expiry != k.expiry {
				next[string(op.Key)] = modelKey{k.value, v, expiry}
			}
		}
		res.Ops = append(res.Ops, o)
	}
	for i := range res.Ops {
		res.Ops[i].Applied = true
	}
	return next, res, true
}

func TestTheMachineAgreesWithAModel(t *testing.T) {
	rng := testkit.Rand(t)
	b := configuredBench(t)
	m := model{}
	for i := range 3000 {
		b.now += []uint64{0, 0, 1, 200}[rng.IntN(4)]
		var ops []api.Op
		for range 1 + rng.IntN(4) {
			op := smallOp(rng, b.now)
			if op.Condition.Kind == api.ConditionVersion && rng.IntN(2) == 0 {
				op.Condition.Version = m[string(op.Key)].version
			}
			ops = append(ops, op)
		}
		a := b.do(batch(ops...))
		v := b.m.state().last
		next, want, ok := m.apply(ops, v)
		if ok != (a.Err == nil) || ok && !reflect.DeepEqual(a.Result, want) {
			t.Fatalf("step %d: %+v\n got %+v\nwant %+v, %t", i, ops, a, want, ok)
		}
		m = next
		switch rng.IntN(100) {
		case 0:
			b.compact()
		case 1:
			b.close()
			b.open()
		}
	}
	now := b.m.state().last.Millis()
	for i := range 12 {
		key := fmt.Sprint("key-", i)
		want, live := m.live(key, now)
		got, ok := b.get(key)
		if ok != live || ok && (string(got.Value) != want.value || got.Version != want.version || got.ExpiryMillis != want.expiry) {
			t.Errorf("%s: %+v, %t, want %+v, %t", key, got, ok, want, live)
		}
	}
}
