package sealed

import (
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/vfs"
)

var rewrite = flag.Bool("rewrite", false, "write the goldens anew")

func examples() map[string]struct {
	kind Kind
	m    proto.Message
} {
	clusterMap := &pb.ClusterMap{
		ClusterId: "C", Revision: 7,
		Nodes:        []*pb.Node{{Id: "a", Name: "node-1", Ordinal: 1, GrpcAddress: "h:8379", RespAddress: "h:6379", HttpAddress: "h:9379", GossipAddress: "h:5379", Zone: "z"}},
		Shards:       []*pb.Shard{{Id: 1, StartSlot: 0, EndSlot: 16384, Epoch: 1, Replicas: []*pb.Replica{{NodeId: "a", Incarnation: 1}}}},
		MetaReplicas: []*pb.Replica{{NodeId: "a", Incarnation: 1}},
	}
	return map[string]struct {
		kind Kind
		m    proto.Message
	}{
		"pledge":  {Pledge, &peerv1.PledgeRecord{ClusterId: "C", NodeIds: []string{"a", "b", "c"}, ShardCount: 3}},
		"cluster": {Cluster, &peerv1.ClusterRecord{ClusterId: "C", FounderIds: []string{"a", "b", "c"}, ShardCount: 3}},
		"map":     {Map, clusterMap},
		"state": {MetaState, &peerv1.MetaState{
			Index: 9, Term: 2, Configuration: []byte{1, 1, 0}, Map: clusterMap,
			FounderIds: []string{"a"}, ShardCount: 1, LastOrdinal: 1, LastShardId: 1,
		}},
	}
}

// TestFilesNeverChange holds files that disks may already have (F2).
func TestFilesNeverChange(t *testing.T) {
	for name, e := range examples() {
		b, err := Encode(e.kind, e.m)
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", "format", name+".hex")
		if *rewrite {
			if err := os.WriteFile(golden, []byte(hex.Dump(b)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.Dump(b); got != string(want) {
			t.Errorf("%s: got\n%swant\n%s", name, got, want)
		}
		read := e.m.ProtoReflect().New().Interface()
		if err := Decode(name, e.kind, b, read); err != nil || !proto.Equal(read, e.m) {
			t.Errorf("%s reads as %v, %v", name, read, err)
		}
	}
}

// TestEveryFlippedBitIsNoticed is F1.
func TestEveryFlippedBitIsNoticed(t *testing.T) {
	e := examples()["pledge"]
	good, err := Encode(e.kind, e.m)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(good) * 8 {
		bad := slices.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		var corrupt *CorruptError
		if err := Decode("f", e.kind, bad, &peerv1.PledgeRecord{}); !errors.As(err, &corrupt) {
			t.Errorf("bit %d: %v", bit, err)
		}
	}
	for length := range good {
		if err := Decode("f", e.kind, good[:length], &peerv1.PledgeRecord{}); err == nil {
			t.Errorf("%d of %d bytes are believed", length, len(good))
		}
	}
	if err := Decode("f", e.kind, append(slices.Clone(good), 0), &peerv1.PledgeRecord{}); err == nil {
		t.Error("a byte too many is believed")
	}
}

func TestOneKindIsNeverTakenForAnother(t *testing.T) {
	e := examples()["pledge"]
	b, err := Encode(e.kind, e.m)
	if err != nil {
		t.Fatal(err)
	}
	if err := Decode("f", Cluster, b, &peerv1.ClusterRecord{}); err == nil || !strings.Contains(err.Error(), "kind 1, expected 2") {
		t.Errorf("%v", err)
	}
}

func TestAnotherFormatIsNamedAndNotCalledDamage(t *testing.T) {
	b, err := Encode(Pledge, &peerv1.PledgeRecord{})
	if err != nil {
		t.Fatal(err)
	}
	b[5] = 2
	seal(b)
	err = Decode("f", Pledge, b, &peerv1.PledgeRecord{})
	var corrupt *CorruptError
	if err == nil || errors.As(err, &corrupt) || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("%v", err)
	}
}

// TestACrashLeavesTheOldFileOrTheNew crashes at each call of a replacement.
func TestACrashLeavesTheOldFileOrTheNew(t *testing.T) {
	record := func(id string) *peerv1.PledgeRecord { return &peerv1.PledgeRecord{ClusterId: id} }
	disk := vfs.NewMem()
	if err := errors.Join(disk.MkdirAll("d"), Write(disk, "d", "f", Pledge, record("old"))); err != nil {
		t.Fatal(err)
	}
	var clones []*vfs.Mem
	disk.OnCall(func(vfs.Op, string) {
		clones = append(clones, disk.CrashClone(vfs.CrashOptions{}), disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepAll}))
	})
	if err := Write(disk, "d", "f", Pledge, record("new")); err != nil {
		t.Fatal(err)
	}
	disk.OnCall(nil)
	if len(clones) < 8 {
		t.Fatalf("only %d crashes", len(clones))
	}
	for i, clone := range append(clones, disk.CrashClone(vfs.CrashOptions{})) {
		var got peerv1.PledgeRecord
		found, err := Read(clone, "d", "f", Pledge, &got)
		last := i == len(clones)
		if !found || err != nil || got.ClusterId != "old" && got.ClusterId != "new" || last && got.ClusterId != "new" {
			t.Errorf("crash %d of %d: %v, %v, %v", i, len(clones), got.ClusterId, found, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range examples() {
		b, err := Encode(e.kind, e.m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(e.kind), b, false)
		f.Add(byte(e.kind), b[headerBytes:], true)
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte, payload bool) {
		if payload { // put a valid header before it, so that fuzzing gets past the checksum
			b = append(make([]byte, headerBytes), b...)
			copy(b, magic)
			b[4], b[5] = kind, format
			seal(b)
		}
		for _, m := range []proto.Message{&peerv1.PledgeRecord{}, &peerv1.ClusterRecord{}, &pb.ClusterMap{}, &peerv1.MetaState{}} {
			if err := Decode("f", Kind(kind), b, m); err != nil {
				continue
			}
			again, err := Encode(Kind(kind), m)
			if err != nil {
				t.Fatal(err)
			}
			other := m.ProtoReflect().New().Interface()
			if err := Decode("f", Kind(kind), again, other); err != nil || !proto.Equal(m, other) {
				t.Fatalf("%x is written again as %x: %v", b, again, err)
			}
		}
	})
}
