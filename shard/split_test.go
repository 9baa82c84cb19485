package shard

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/router"
)

// splitAt is where the tests split shard 7, of which shard 9 comes.
const splitAt = api.SlotCount / 2

func testSplit() *Split {
	return &Split{Child: 9, At: splitAt, Epoch: 1, ChildEpoch: 4, Replicas: []raft.ReplicaID{{Node: "a", Incarnation: 1}, {Node: "b", Incarnation: 1}}}
}

// parent is a bench whose machine can be split, and the log that it has applied.
type parent struct {
	*bench
	log      []raft.Entry
	discards bool // the child's replica was here before
	children []api.ShardID
}

func newParent(t testing.TB) *parent {
	p := &parent{bench: newBench(t)}
	p.wire()
	p.run(p.entry(encodeConfigure(fullArc(10_000))))
	p.index++
	members := &raft.Configuration{Index: p.index}
	for _, r := range testSplit().Replicas {
		members.Servers = append(members.Servers, raft.Server{Replica: r, Voter: true})
	}
	p.run(raft.Entry{Index: p.index, Term: p.term, Configuration: members})
	return p
}

// wire gives the machine what a node gives it.
func (p *parent) wire() {
	p.m.replica, p.m.splitter = raft.ReplicaID{Node: "a", Incarnation: 1}, p
	p.m.found = func(_ raft.GroupID, _ uint64, _ raft.State, install func() error) (bool, error) {
		if p.discards {
			return false, nil
		}
		return true, install()
	}
}

func (p *parent) ChildDir(child api.ShardID, incarnation uint64) string {
	return fmt.Sprintf("/data/shards/%d-%d", child, incarnation)
}

func (p *parent) OnSplit(child api.ShardID) { p.children = append(p.children, child) }

func (p *parent) run(e raft.Entry) []Answer {
	p.t.Helper()
	p.log = append(p.log, e)
	return p.apply(e)[0]
}

func (p *parent) write(c Command) Answer {
	p.t.Helper()
	return p.run(p.entry(EncodeCommand(c)))[0]
}

// fill writes keys, some that expire, and answers of requests.
func (p *parent) fill(count int) {
	p.t.Helper()
	for i := range count {
		op := put(fmt.Sprint("k", i), fmt.Sprint("v", i))
		if i%5 == 0 {
			op = putUntil(fmt.Sprint("k", i), fmt.Sprint("v", i), p.now+60_000)
		}
		c := batch(op)
		if i%3 == 0 {
			c = request(c, startMillis, uint64(i+1), 1)
		}
		if a := p.write(c); a.Err != nil {
			p.t.Fatal(a.Err)
		}
	}
}

// fillLarge writes a large value on either side.
func (p *parent) fillLarge() {
	p.t.Helper()
	sequence := uint64(0)
	for _, key := range []string{keyIn(0, splitAt), keyIn(splitAt, api.SlotCount)} {
		sequence++
		stages, final := stagedPut(p.now, requestID(sequence), key, largeValue(sequence, 300_000), api.Expiry{})
		for _, c := range append(stages, final) {
			if a := p.write(c); a.Err != nil || !a.Result.Applied {
				p.t.Fatalf("%s: %+v", key, a)
			}
		}
	}
}

// keyIn is a key with a slot from start to end.
func keyIn(start, end uint32) string {
	for i := 0; ; i++ {
		key := fmt.Sprint("large", i)
		if (router.Arc{Start: start, End: end}).Contains(router.Slot(0, []byte(key))) {
			return key
		}
	}
}

func (p *parent) split(c *Split) Answer {
	p.t.Helper()
	return p.run(p.entry(encodeSplit(c)))[0]
}

// child opens the child's replica as a bench of its own.
func (p *parent) child() *bench {
	p.t.Helper()
	o := machineOptions(p.t, p.fs)
	o.ID, o.Dir = 9, p.ChildDir(9, 1)
	m, err := openMachine(o)
	if err != nil {
		p.t.Fatal(err)
	}
	c := &bench{t: p.t, fs: p.fs, m: m, index: api.Index(m.state().position.Index), term: p.term + 1, now: p.now}
	p.t.Cleanup(c.close)
	return c
}

func inChild(key string) bool { return router.Slot(0, []byte(key)) >= splitAt }

func at(c Command, e api.Epoch) Command {
	c.Epoch = e
	return c
}

// S11: after the entry each slot is in exactly one of the two, which both know the epoch, the rows and the requests.
func TestASplitGivesEachHalfItsSlots(t *testing.T) {
	p := newParent(t)
	p.fill(200)
	p.fillLarge()
	last := p.m.state().last
	if a := p.split(testSplit()); a.Err != nil {
		t.Fatal(a.Err)
	}
	c := p.child()
	if s := p.m.state(); s.arc != (router.Arc{End: splitAt}) || s.epoch != 2 || !slices.Equal(p.children, []api.ShardID{9}) {
		t.Fatalf("the parent has %s at epoch %d, and told of %v", s.arc, s.epoch, p.children)
	}
	s := c.m.state()
	if s.arc != (router.Arc{Start: splitAt, End: api.SlotCount}) || s.epoch != 4 || s.shard != 9 || s.position.Index != uint64(p.index) {
		t.Fatalf("the child is %+v", s)
	}
	if state := c.m.Durable(); state.Index != p.index || state.Configuration.Index != p.index || len(state.Configuration.Voters()) != 2 {
		t.Fatalf("the child's Raft state is %+v", state)
	}
	for i := range 200 {
		key := fmt.Sprint("k", i)
		mine, other, epoch := p.bench, c, api.Epoch(2)
		if inChild(key) {
			mine, other, epoch = c, p.bench, 4
		}
		mine.want(key, fmt.Sprint("v", i))
		if a := other.do(at(batch(put(key, "x")), 6-epoch)); !errors.Is(a.Err, api.ErrStaleMap) {
			t.Fatalf("%s on the other half: %+v", key, a)
		}
		if a := mine.do(batch(put(key, "x"))); !errors.Is(a.Err, api.ErrStaleMap) {
			t.Fatalf("%s at the epoch before the split: %+v", key, a)
		}
		if i%3 == 0 {
			a := mine.do(request(at(batch(put(key, "again")), epoch), startMillis, uint64(i+1), 1))
			if a.Err != nil || a.Result.Version > last {
				t.Fatalf("a request that was answered before the split ran again: %+v", a)
			}
			mine.want(key, fmt.Sprint("v", i))
		}
		if a := mine.do(at(batch(put(key, "new")), epoch)); a.Err != nil || a.Result.Version <= last {
			t.Fatalf("%s: %+v", key, a)
		}
	}
	for i, b := range []*bench{p.bench, c} {
		key := keyIn(uint32(i)*splitAt, uint32(i+1)*splitAt)
		b.want(key, string(largeValue(uint64(i+1), 300_000)))
	}
}

// S13: the child's leader uses no time at or below one that its parent may have used.
func TestAChildBeginsAboveTheTimesOfItsParent(t *testing.T) {
	p := newParent(t)
	p.fill(1)
	ceiling := p.m.state().ceilingMillis
	p.split(testSplit())
	c := p.child()
	c.now = startMillis - 60_000 // its clock is behind
	a := c.do(at(batch(put(keyIn(splitAt, api.SlotCount), "x")), 4))
	if a.Err != nil || a.Result.Version <= api.VersionAt(ceiling) {
		t.Fatalf("%+v, not above the ceiling %d", a, ceiling)
	}
}

// S12: wherever a crash comes while the entry is applied, the log makes the same of it again.
func TestASplitIsTheSameAfterACrashAnywhere(t *testing.T) {
	rng := testkit.Rand(t)
	for _, keep := range []vfs.Keep{vfs.KeepNone, vfs.KeepAll, vfs.KeepRandom} {
		p := newParent(t)
		p.fill(30)
		var mu sync.Mutex // the engine calls as well
		var clones []*vfs.Mem
		p.fs.OnCall(func(vfs.Op, string) {
			mu.Lock()
			defer mu.Unlock()
			clones = append(clones, p.fs.CrashClone(vfs.CrashOptions{KeepUnsynced: keep, Rand: rng}))
		})
		p.split(testSplit())
		p.flush()
		p.fs.OnCall(nil)
		clones = append(clones, p.fs.CrashClone(vfs.CrashOptions{KeepUnsynced: keep, Rand: rng}))
		wantParent, wantChild := p.digest(), p.child().digest()
		for i, fs := range clones {
			again := &parent{bench: &bench{t: t, fs: fs, term: 1, now: p.now}}
			again.open()
			again.wire()
			durable := again.m.Durable().Index
			if there, _ := founded(fs); durable == p.index && !there {
				t.Fatalf("crash %d of %d: the parent is split and the child is not there", i, len(clones))
			}
			for _, e := range p.log {
				if e.Index > durable {
					again.apply(e)
				}
			}
			if again.digest() != wantParent {
				t.Fatalf("crash %d of %d: the parent is another one", i, len(clones))
			}
			if got := again.child().digest(); got != wantChild {
				t.Fatalf("crash %d of %d: the child is another one", i, len(clones))
			}
			again.close()
		}
		t.Logf("%d crashes", len(clones))
	}
}

func founded(fs vfs.FS) (bool, error) {
	_, err := fs.Open("/data/shards/9-1/CURRENT")
	return err == nil, err
}

// S12: a call that fails loses neither half: the replica stops, and makes the split after a restart.
func TestASplitThatTheDiskRefusesIsMadeAfterARestart(t *testing.T) {
	p := newParent(t)
	p.fill(20)
	p.flush()
	base := p.fs.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepNone})
	entry := p.entry(encodeSplit(testSplit()))
	failed := 0
	for n := int64(1); ; n++ {
		disk := base.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepNone})
		var calls atomic.Int64
		var broken atomic.Bool
		fs := vfs.NewFault(disk, vfs.InjectorFunc(func(op vfs.Op, _ string) error {
			if op&(vfs.OpMutating&^vfs.OpLock) == 0 {
				return nil
			}
			if calls.Add(1) >= n {
				broken.Store(true)
				return errors.New("no space left on device")
			}
			return nil
		}))
		o := machineOptions(t, fs)
		m, err := openMachine(o)
		if err == nil {
			again := &parent{bench: &bench{t: t, m: m}}
			again.wire()
			_, err = m.Apply([]raft.Entry{entry})
			if err == nil {
				err = m.Flush()
			}
			_ = m.close() // may fail, as everything does
		}
		if err != nil {
			failed++
		}
		if !broken.Load() {
			break
		}
		again := &parent{bench: &bench{t: t, fs: disk, term: 1, now: p.now}}
		again.open()
		again.wire()
		if again.m.Durable().Index < entry.Index {
			again.apply(entry)
		}
		if c := again.child(); c.m.state().arc.Start != splitAt || again.m.state().arc.End != splitAt {
			t.Fatalf("call %d failed: %+v and %+v", n, c.m.state(), again.m.state())
		}
		again.close()
	}
	if failed < 10 {
		t.Fatalf("only %d failures had an effect", failed)
	}
}

// S11: what does not fit the shard changes nothing, and a split that comes again has been done.
func TestOnlyTheNextSplitOfAShardIsApplied(t *testing.T) {
	p := newParent(t)
	p.fill(10)
	for name, change := range map[string]func(*Split){
		"the epoch":         func(c *Split) { c.Epoch = 2 },
		"the first slot":    func(c *Split) { c.At = 0 },
		"itself":            func(c *Split) { c.Child = 7 },
		"no child":          func(c *Split) { c.Child = 0 },
		"no epoch":          func(c *Split) { c.ChildEpoch = 0 },
		"too few members":   func(c *Split) { c.Replicas = c.Replicas[:1] },
		"too many members":  func(c *Split) { c.Replicas = append(c.Replicas, raft.ReplicaID{Node: "c", Incarnation: 1}) },
		"other members":     func(c *Split) { c.Replicas[1].Node = "c" },
		"other incarnation": func(c *Split) { c.Replicas[1].Incarnation = 2 },
	} {
		c := testSplit()
		change(c)
		before := *p.m.state()
		if a := p.split(c); a.Err == nil {
			t.Errorf("%s: it was applied", name)
		}
		if s := p.m.state(); s.arc != before.arc || s.epoch != before.epoch || len(p.children) != 0 {
			t.Errorf("%s: the state is %+v", name, s)
		}
	}
	if answers := p.run(p.entry(encodeTick(), encodeSplit(testSplit()))); answers[1].Err == nil || len(p.children) != 0 {
		t.Error("a split beside another command was applied")
	}
	for range 2 {
		if a := p.split(testSplit()); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	if s := p.m.state(); s.epoch != 2 || len(p.children) != 1 {
		t.Fatalf("split twice: epoch %d, %v", s.epoch, p.children)
	}
	other := testSplit()
	other.Child, other.Epoch = 10, 1
	if a := p.split(other); !errors.Is(a.Err, api.ErrStaleMap) {
		t.Fatalf("another split of the same epoch: %+v", a)
	}
}

// S12: a replica that is discarded does not come back by a split, and one that is no member makes nothing.
func TestASplitMakesNoReplicaThatIsNotToBe(t *testing.T) {
	for _, discarded := range []bool{true, false} {
		p := newParent(t)
		p.fill(10)
		if p.discards = discarded; !discarded {
			p.m.replica.Incarnation = 5
		}
		if a := p.split(testSplit()); a.Err != nil {
			t.Fatal(a.Err)
		}
		if there, _ := founded(p.fs); there {
			t.Fatal("it made one")
		}
		if names, err := p.fs.List("/data/shards/7"); err != nil || slices.Contains(names, childName) {
			t.Fatalf("left are %v, %v", names, err)
		}
		if p.m.state().arc.End != splitAt {
			t.Fatal("the parent is not split")
		}
	}
}
