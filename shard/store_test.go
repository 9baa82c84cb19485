package shard

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/rows"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/router"
)

// S7, RD1: the disk is cloned before every call that Install makes, and each clone is opened.
func TestACrashDuringInstallLeavesTheOldOrTheNewState(t *testing.T) {
	rng := testkit.Rand(t)
	for _, keep := range []vfs.Keep{vfs.KeepNone, vfs.KeepAll, vfs.KeepRandom} {
		b := configuredBench(t)
		for i := range 50 {
			b.must(put(fmt.Sprint("k", i), "new"))
		}
		newState, err := b.m.Checkpoint("/data/checkpoint")
		if err != nil {
			t.Fatal(err)
		}
		newDigest := b.digest()
		// The replica itself is elsewhere: it has lost those keys again, as one that is behind.
		for i := range 50 {
			b.must(remove(fmt.Sprint("k", i)))
		}
		b.flush()
		oldState, oldDigest := b.m.Durable(), b.digest()

		var clones []*vfs.Mem
		b.fs.OnCall(func(vfs.Op, string) {
			clones = append(clones, b.fs.CrashClone(vfs.CrashOptions{KeepUnsynced: keep, Rand: rng}))
		})
		if err := b.m.Install("/data/checkpoint"); err != nil {
			t.Fatal(err)
		}
		b.fs.OnCall(nil)
		clones = append(clones, b.fs.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepNone}))
		if b.digest() != newDigest || b.m.Durable().Index != newState.Index {
			t.Fatalf("installed %+v, want %+v", b.m.Durable(), newState)
		}
		seenNew := false
		for i, fs := range clones {
			c := &bench{t: t, fs: fs, term: 1, now: b.now}
			c.open()
			switch durable := c.m.Durable(); {
			case durable.Index == oldState.Index && c.digest() == oldDigest && !seenNew:
			case durable.Index == newState.Index && c.digest() == newDigest:
				seenNew = keep != vfs.KeepRandom // which may also bring back an older CURRENT
			default:
				t.Fatalf("crash %d of %d: %+v is neither %+v nor %+v", i, len(clones), durable, oldState, newState)
			}
			names, err := fs.List("/data/shards/7")
			if err != nil || len(names) > 4 || strings.Count(strings.Join(names, " "), "engine-") != 1 {
				t.Fatalf("crash %d: leftovers %q, %v", i, names, err)
			}
			c.close()
		}
		if last := clones[len(clones)-1]; keep == vfs.KeepNone {
			c := &bench{t: t, fs: last, term: 1, now: b.now}
			c.open()
			if c.m.Durable().Index != newState.Index {
				t.Fatal("an installation that had returned was lost")
			}
			c.close()
		}
	}
}

func TestACrashWhileAShardIsMadeLeavesOneThatOpens(t *testing.T) {
	rng := testkit.Rand(t)
	fs := vfs.NewMem()
	var clones []*vfs.Mem
	fs.OnCall(func(vfs.Op, string) {
		clones = append(clones, fs.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepRandom, Rand: rng}))
	})
	m, err := openMachine(machineOptions(t, fs))
	if err != nil {
		t.Fatal(err)
	}
	fs.OnCall(nil)
	defer m.close()
	for i, clone := range clones {
		m, err := openMachine(machineOptions(t, clone))
		if err != nil {
			t.Fatalf("crash %d: %v", i, err)
		}
		if err := m.close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadersFinishOnTheEngineTheyHold(t *testing.T) {
	b := configuredBench(t)
	b.must(put("k", "old"))
	if _, err := b.m.Checkpoint("/data/checkpoint"); err != nil {
		t.Fatal(err)
	}
	b.must(put("k", "newer"))
	h, err := b.m.store.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.m.Install("/data/checkpoint"); err != nil {
		t.Fatal(err)
	}
	b.want("k", "old")
	r, ok, err := h.DB.Get(rows.Key(0, []byte("k")), engine.MaxVersion)
	if value, derr := rows.DecodeValue(r.Value); err != nil || !ok || derr != nil || string(value) != "newer" {
		t.Fatalf("the held engine gives %q, %t, %v", r.Value, ok, err)
	}
	if _, err := b.fs.List("/data/shards/7/engine-000001"); err != nil {
		t.Fatalf("the held engine's files are gone: %v", err)
	}
	h.Release()
	if _, err := b.fs.List("/data/shards/7/engine-000001"); !vfs.IsNotExist(err) {
		t.Fatalf("the replaced engine's files are still there: %v", err)
	}
	b.must(put("k", "goes on"))
	b.want("k", "goes on")
	if err := b.m.store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.m.store.Acquire(); !errors.Is(err, api.ErrShuttingDown) {
		t.Fatalf("after close: %v", err)
	}
}

func TestDirectoriesThatDoNotAddUpAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(fs *vfs.Mem) error
		want   string
	}{
		"CURRENT lost": {func(fs *vfs.Mem) error { return fs.Remove("/data/shards/7/CURRENT") }, "CURRENT is missing beside engine-000001, which holds entries"},
		"CURRENT damaged": {func(fs *vfs.Mem) error {
			return vfs.WriteFileAtomic(fs, "/data/shards/7", "CURRENT", []byte("engine-000001 00000000\n"))
		}, "checksum mismatch"},
		"engine lost":    {func(fs *vfs.Mem) error { return fs.RemoveAll("/data/shards/7/engine-000001") }, "names engine-000001, which is missing"},
		"engine renamed": {func(fs *vfs.Mem) error { return fs.Rename("/data/shards/7/engine-000001", "/data/shards/7/engine-x") }, "not the name of an engine"},
		"CURRENT lost later": {func(fs *vfs.Mem) error {
			return errors.Join(fs.Remove("/data/shards/7/CURRENT"), fs.Rename("/data/shards/7/engine-000001", "/data/shards/7/engine-000002"))
		}, "CURRENT is missing beside engine-000002"},
	} {
		b := configuredBench(t)
		b.must(put("k", "v"))
		b.close()
		if err := c.damage(b.fs); err != nil {
			t.Fatal(err)
		}
		m, err := openMachine(machineOptions(t, b.fs))
		if err == nil {
			t.Errorf("%s: opened", name)
			_ = m.close()
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestAnotherShardsStateIsRefused(t *testing.T) {
	b := configuredBench(t)
	b.must(put("k", "v"))
	if _, err := b.m.Checkpoint("/data/checkpoint"); err != nil {
		t.Fatal(err)
	}
	o := machineOptions(t, b.fs)
	o.ID, o.Dir = 8, "/data/shards/8"
	m, err := openMachine(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Install("/data/checkpoint"); err == nil || !strings.Contains(err.Error(), "holds shard 7, not shard 8") {
		t.Errorf("install: %v", err)
	}
	if s := m.Durable(); s.Index != 0 {
		t.Errorf("after a refused installation: %+v", s)
	}
	if err := m.close(); err != nil {
		t.Fatal(err)
	}
	b.close()
	o.Dir = "/data/shards/7"
	if m, err := openMachine(o); err == nil {
		t.Error("shard 8 opened the directory of shard 7")
		_ = m.close()
	}
	b.open()
}

func TestAFailedSwitchStopsTheStore(t *testing.T) {
	b := configuredBench(t)
	b.must(put("k", "v"))
	if _, err := b.m.Checkpoint("/data/checkpoint"); err != nil {
		t.Fatal(err)
	}
	b.close()
	full := errors.New("no space left")
	rules := vfs.NewRules()
	var failures []error
	o := machineOptions(t, vfs.NewFault(b.fs, rules))
	o.OnFailure = func(err error) { failures = append(failures, err) }
	m, err := openMachine(o)
	if err != nil {
		t.Fatal(err)
	}
	rules.Set(vfs.Rule{Ops: vfs.OpRename, Pattern: "CURRENT", Err: full})
	if err := m.Install("/data/checkpoint"); !errors.Is(err, full) {
		t.Errorf("install: %v", err)
	}
	if len(failures) != 1 || !errors.Is(failures[0], full) {
		t.Errorf("a replica that waits for a snapshot applies nothing, so nobody else would notice: %v", failures)
	}
	if _, err := m.Apply([]raft.Entry{b.entry(encodeTick())}); !errors.Is(err, api.ErrStoreFailed) {
		t.Errorf("apply after a failed switch: %v", err)
	}
	_ = m.close()
}

// TestAnInstallationThatDoesNotFitOnTheDiskLeavesTheOldState in use, and nothing of itself (RD1).
func TestAnInstallationThatDoesNotFitOnTheDiskLeavesTheOldState(t *testing.T) {
	full := errors.New("no space left")
	for _, rule := range []vfs.Rule{
		{Ops: vfs.OpCreate, Pattern: "CURRENT.tmp"}, {Ops: vfs.OpWrite, Pattern: "CURRENT.tmp"}, {Ops: vfs.OpSync, Pattern: "CURRENT.tmp"},
		{Ops: vfs.OpRename, Pattern: "engine-000002"}, {Ops: vfs.OpOpen, Pattern: "MANIFEST"},
	} {
		b := configuredBench(t)
		b.must(put("k", "v"))
		if _, err := b.m.Checkpoint("/data/checkpoint"); err != nil {
			t.Fatal(err)
		}
		b.close()
		rules := vfs.NewRules()
		o := machineOptions(t, vfs.NewFault(b.fs, rules))
		o.OnFailure = func(err error) { t.Errorf("%s of %s: the store is given up: %v", rule.Ops, rule.Pattern, err) }
		m, err := openMachine(o)
		if err != nil {
			t.Fatal(err)
		}
		before := m.Durable()
		rule.Err = full
		rules.Set(rule)
		if err := m.Install("/data/checkpoint"); !errors.Is(err, full) {
			t.Errorf("%s of %s: install: %v", rule.Ops, rule.Pattern, err)
		}
		rules.Set()
		if names, err := b.fs.List("/data/shards/7"); err != nil || strings.Contains(strings.Join(names, " "), "engine-000002") {
			t.Errorf("%s of %s: left %q, %v", rule.Ops, rule.Pattern, names, err)
		}
		if got := m.Durable(); got.Index != before.Index {
			t.Errorf("%s of %s: the state is at %d, was at %d", rule.Ops, rule.Pattern, got.Index, before.Index)
		}
		if _, err := m.Apply([]raft.Entry{b.entry(encodeTick())}); err != nil {
			t.Errorf("%s of %s: apply: %v", rule.Ops, rule.Pattern, err)
		}
		if err := m.close(); err != nil {
			t.Error(err)
		}
		b.open()
	}
}

func TestOptionsReportEveryProblem(t *testing.T) {
	err := Options{Arc: router.Arc{Start: 5, End: 5}, UpkeepInterval: -1}.Validate()
	for _, want := range []string{"shard id", "incarnation", "directory", "arc [5, 5)", "epoch", "upkeep"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not mention %q", err, want)
		}
	}
}
