package shard

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/evaluate"
	"github.com/lightning-db/lightning/internal/rows"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/shard/parts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startMillis is when shard time begins in tests of the machine.
const startMillis = uint64(1_790_000_000_000)

// bench drives a Machine without Raft: the test is the log.
type bench struct {
	t     testing.TB
	fs    *vfs.Mem
	m     *Machine
	index api.Index
	term  api.Term
	now   uint64 // milliseconds of the next entry
}

func smallEngine() engine.Options {
	return engine.Options{MemtableBytes: 64 << 10, CacheBytes: 64 << 10, TableBytes: 64 << 10, LevelBytes: 256 << 10}
}

func machineOptions(t testing.TB, fs vfs.FS) Options {
	return Options{
		ID: 7, Incarnation: 1, Dir: "/data/shards/7", Arc: router.FullArc, Epoch: 1, FS: fs, Engine: smallEngine(),
		Voters: []raft.ReplicaID{{Node: "a", Incarnation: 1}}, Logger: testkit.Logger(t),
	}.withDefaults()
}

func newBench(t testing.TB) *bench {
	b := &bench{t: t, fs: vfs.NewMem(), term: 1, now: startMillis}
	b.open()
	t.Cleanup(func() {
		if b.m != nil {
			b.close()
		}
	})
	return b
}

// configured is a bench whose shard owns every slot at epoch 1.
func configuredBench(t testing.TB) *bench {
	b := newBench(t)
	b.apply(b.entry(encodeConfigure(fullArc(0))))
	return b
}

func fullArc(retentionMillis uint64) configuration {
	return configuration{shard: 7, start: 0, end: api.SlotCount, epoch: 1, retentionMillis: retentionMillis}
}

func (b *bench) open() {
	b.t.Helper()
	m, err := openMachine(machineOptions(b.t, b.fs))
	if err != nil {
		b.t.Fatal(err)
	}
	b.m = m
}

func (b *bench) close() {
	b.t.Helper()
	if err := b.m.close(); err != nil {
		b.t.Fatal(err)
	}
	b.m = nil
}

// entry makes the next entry of the log.
func (b *bench) entry(commands ...[]byte) raft.Entry {
	b.index++
	data := EncodeEntry(Entry{Time: api.VersionAt(b.now), CeilingMillis: b.now + maxCeilingAheadMillis, Run: uint64(b.index), Commands: commands})
	return raft.Entry{Index: b.index, Term: b.term, Data: data}
}

func (b *bench) apply(entries ...raft.Entry) [][]Answer {
	b.t.Helper()
	results, err := b.m.Apply(entries)
	if err != nil {
		b.t.Fatal(err)
	}
	answers := make([][]Answer, len(results))
	for i, r := range results {
		if applied := r.(*Applied); applied != nil {
			answers[i] = applied.Answers
		}
	}
	return answers
}

// do applies one command in an entry of its own.
func (b *bench) do(c Command) Answer {
	b.t.Helper()
	return b.apply(b.entry(EncodeCommand(c)))[0][0]
}

func (b *bench) tick() {
	b.t.Helper()
	b.apply(b.entry(encodeTick()))
}

// must applies ops and expects that they go through.
func (b *bench) must(ops ...api.Op) api.Result {
	b.t.Helper()
	a := b.do(batch(ops...))
	if a.Err != nil || !a.Result.Applied {
		b.t.Fatalf("%+v: %+v", ops, a)
	}
	return a.Result
}

func batch(ops ...api.Op) Command { return Command{Epoch: 1, Batch: api.Batch{Ops: ops}} }

func put(key, value string) api.Op {
	return api.Op{Kind: api.OpPut, Key: []byte(key), Value: []byte(value)}
}

func putUntil(key, value string, expiryMillis uint64) api.Op {
	return api.Op{Kind: api.OpPut, Key: []byte(key), Value: []byte(value), Expiry: api.Expiry{Mode: api.ExpiryAt, Millis: expiryMillis}}
}

func increment(key string, delta int64) api.Op {
	return api.Op{Kind: api.OpIncrement, Key: []byte(key), Delta: delta}
}

func remove(key string) api.Op { return api.Op{Kind: api.OpDelete, Key: []byte(key)} }

func when(op api.Op, c api.ConditionKind, v api.Version) api.Op {
	op.Condition = api.Condition{Kind: c, Version: v}
	return op
}

func previous(op api.Op) api.Op {
	op.ReturnPrevious = true
	return op
}

func request(c Command, created, sequence, floor uint64) Command {
	c.Request = api.RequestID{Session: api.SessionID{CreatedMillis: created, Random: 42}, Sequence: sequence, Floor: floor}
	return c
}

// get is a key as the newest state has it at shard time.
func (b *bench) get(key string) (evaluate.Row, bool) {
	b.t.Helper()
	h, err := b.m.store.Acquire()
	if err != nil {
		b.t.Fatal(err)
	}
	defer h.Release()
	r, ok, err := h.DB.Get(rows.Key(0, []byte(key)), engine.MaxVersion)
	if err != nil {
		b.t.Fatal(err)
	}
	if !ok || expired(r.ExpiryMillis, b.m.state().last.Millis()) {
		return evaluate.Row{}, false
	}
	value, in, err := rows.Decode(r.Value)
	if err == nil && in != nil {
		value, err = parts.Load(in, func(key []byte) ([]byte, bool, error) {
			part, ok, err := h.DB.Get(key, engine.MaxVersion)
			return part.Value, ok, err
		})
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return evaluate.Row{Value: value, Parts: in, Version: api.Version(r.Version), ExpiryMillis: r.ExpiryMillis, Live: true}, true
}

func (b *bench) want(key, value string) {
	b.t.Helper()
	if r, ok := b.get(key); !ok || string(r.Value) != value {
		b.t.Fatalf("%s is %q, %t, want %q", key, r.Value, ok, value)
	}
}

func (b *bench) wantAbsent(key string) {
	b.t.Helper()
	if r, ok := b.get(key); ok {
		b.t.Fatalf("%s is %q, want it absent", key, r.Value)
	}
}

// systemRows counts the session rows, and the answers that they and rows of their own hold.
func (b *bench) systemRows() (sessions, answers int) {
	b.t.Helper()
	start, end := allSessions()
	b.walk(start, end, func(r engine.Row) {
		_, kind, err := sessionOfKey(r.Key)
		if err != nil {
			b.t.Fatal(err)
		}
		if kind == sessionRow {
			sessions++
			var w window
			if err := decodeWindow(&w, r.Value); err != nil {
				b.t.Fatal(err)
			}
			for _, k := range w.kept {
				if k.form != keptApart {
					answers++
				}
			}
		} else {
			answers++
		}
	})
	return sessions, answers
}

func (b *bench) walk(start, end []byte, visit func(engine.Row)) {
	b.t.Helper()
	h, err := b.m.store.Acquire()
	if err != nil {
		b.t.Fatal(err)
	}
	defer h.Release()
	s := h.DB.Snapshot()
	defer s.Close()
	it := s.NewIterator(engine.IteratorOptions{Start: start, End: end, At: engine.MaxVersion})
	for ok := it.First(); ok; ok = it.Next() {
		visit(it.Row())
	}
	if err := it.Close(); err != nil {
		b.t.Fatal(err)
	}
}

// digest is a hash of everything that is logically there: every system row, and every user row
// that has not expired. Whether the engine has dropped expired rows yet is its own affair.
func (b *bench) digest() string {
	b.t.Helper()
	hash := sha256.New()
	now := b.m.state().last.Millis()
	b.walk(nil, nil, func(r engine.Row) {
		if expired(r.ExpiryMillis, now) {
			return
		}
		version := r.Version
		if r.Key[0] == prefixSystem {
			version = 0 // the end of the batch that wrote it, and batches differ
		}
		fmt.Fprintf(hash, "%x=%x@%d!%d\n", r.Key, r.Value, version, r.ExpiryMillis)
	})
	return hex.EncodeToString(hash.Sum(nil))
}

// crash makes the disk what a crash would leave and opens the machine again. The log goes on
// after what is durable.
func (b *bench) crash(rng *rand.Rand) raft.State {
	b.t.Helper()
	clone := b.fs.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepRandom, Rand: rng})
	b.close()
	b.fs = clone
	b.open()
	return b.m.Durable()
}
