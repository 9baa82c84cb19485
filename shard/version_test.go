package shard

import (
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/raft"
)

// S20: what a later version wrote is neither executed nor passed over.
func TestAnEntryOfAnUnknownVersionStopsTheReplica(t *testing.T) {
	b := configuredBench(t)
	b.must(put("k", "before"))
	at := b.m.state().position.Index
	entry := func(level uint8, value string) raft.Entry {
		b.index++
		data := EncodeEntry(Entry{
			Time: api.VersionAt(b.now), CeilingMillis: b.now + maxCeilingAheadMillis, Run: uint64(b.index), Level: level,
			Commands: [][]byte{EncodeCommand(batch(put("k", value)))},
		})
		return raft.Entry{Index: b.index, Term: b.term, Data: data}
	}
	for range 2 { // it stays so
		from := b.index
		_, err := b.m.Apply([]raft.Entry{entry(1, "unknown"), entry(0, "behind")})
		b.index = from
		if err == nil || !strings.Contains(err.Error(), "run a newer build on this node") {
			t.Fatalf("it was applied: %v", err)
		}
		row, found := b.get("k")
		if !found || string(row.Value) != "before" || b.m.state().position.Index != at {
			t.Fatalf("after an unknown entry k is %q, and entry %d is applied, want %d", row.Value, b.m.state().position.Index, at)
		}
	}
}

func TestEntriesAreOfNoVersionThatThisBuildDoesNotKnow(t *testing.T) {
	for version, want := range map[uint32]uint8{0: 0, 1: 0, 2: 0, 300: 0} { // this build knows version 1
		if got := levelOf(version); got != want {
			t.Errorf("at cluster version %d entries have level %d, want %d", version, got, want)
		}
	}
	e := Entry{Time: 5, Level: 3}
	if data := EncodeEntry(e); data[0] != entryFormat+3 {
		t.Errorf("the format of an entry of level 3 is %d", data[0])
	}
}
