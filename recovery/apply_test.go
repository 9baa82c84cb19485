package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/datadir"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/network"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/meta"
	"github.com/lightning-db/lightning/meta/pledge"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/raft/sharedlog"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/shard"
)

const (
	testDir = "/data"
	// elected is ten times what a lone voter takes on a busy machine.
	elected = 30 * time.Second
)

// memStorage keeps all logs in one shared log: bbolt knows only the machine's disk.
type memStorage struct{ *sharedlog.Log }

// mapGroup is the number of the map's group in it.
const mapGroup = 1 << 40

func number(g raft.GroupID) uint64 {
	if g == raft.MetaGroup {
		return mapGroup
	}
	return uint64(g)
}

func (s memStorage) Open(g raft.GroupID, incarnation uint64) (raft.LogStore, error) {
	return s.View(number(g), incarnation)
}

func (s memStorage) Drop(g raft.GroupID, incarnation uint64) error {
	return s.Log.Drop(number(g), incarnation)
}

func (s memStorage) Dropped(g raft.GroupID, incarnation uint64) (bool, error) {
	return s.Log.Dropped(number(g), incarnation), nil
}

func site(fsys vfs.FS) Site {
	return Site{FS: fsys, Dir: testDir, Storage: func(dir string) (raft.Storage, error) {
		if err := fsys.MkdirAll(dir); err != nil {
			return nil, err
		}
		l, err := sharedlog.Open(sharedlog.Options{Dir: dir + "/log", FS: fsys, Entropy: entropy.System(), SegmentBytes: 64 << 10})
		return memStorage{l}, err
	}}
}

type nobody struct{}

func (nobody) Address(api.NodeID) (string, bool) { return "", false }

// serve opens a shard that has one voter, as a node does, and waits until it leads.
func serve(t *testing.T, disk *vfs.Mem, self api.NodeID, incarnation uint64, founders []raft.ReplicaID, use func(*shard.Shard)) {
	t.Helper()
	storage, err := site(disk).storage(testDir + "/raft")
	if err != nil {
		t.Fatal(err)
	}
	pool := peers.New(peers.Options{Network: network.TCP{}, Resolver: nobody{}, Credentials: insecure.NewCredentials()})
	defer pool.Close()
	host, err := raft.NewHost(raft.HostOptions{
		Node: self, Dir: testDir, FS: disk, Storage: storage, Peers: pool, Logger: testkit.Logger(t),
		Timing: raft.Timing{HeartbeatTimeout: 50 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := shard.Open(host, shard.Options{
		ID: 1, Incarnation: incarnation, Dir: testDir + "/shards/" + shardName(1, incarnation), Arc: router.FullArc, Epoch: 1,
		Voters: founders, FS: disk, Logger: testkit.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, elected, s.Group().IsReadyLeader, "a leader")
	use(s)
	if err := errors.Join(s.Close(), host.Close()); err != nil {
		t.Error(err)
	}
}

const written = 30

func put(t *testing.T, s *shard.Shard, i int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), elected)
	defer cancel()
	key := fmt.Appendf(nil, "key-%d", i)
	if _, err := s.Apply(ctx, shard.Command{Epoch: 1, Batch: api.Batch{Ops: []api.Op{{Kind: api.OpPut, Key: key, Value: key}}}}); err != nil {
		t.Fatal(err)
	}
}

func find(t *testing.T, s *shard.Shard, count int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), elected)
	defer cancel()
	for i := range count {
		key := fmt.Appendf(nil, "key-%d", i)
		items, err := s.Get(ctx, 1, 0, [][]byte{key})
		if err != nil || string(items[0].Value) != string(key) {
			t.Fatalf("%s: %+v, %v", key, items, err)
		}
	}
}

// stopped is the disk of a node of a cluster of three, and a plan by which it goes on alone. Its shard has a part of the writes
// in its tables and the others in its log.
func stopped(t *testing.T) (*vfs.Mem, *Plan) {
	t.Helper()
	disk := vfs.NewMem()
	self, lock, err := datadir.Open(disk, testDir, entropy.System())
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	serve(t, disk, self, 1, []raft.ReplicaID{{Node: self, Incarnation: 1}}, func(s *shard.Shard) {
		for i := range written {
			put(t, s, i)
			if i == written/2 {
				if err := s.Flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
	nodes := []string{string(self), "lost-1", "lost-2"}
	m := &pb.ClusterMap{ClusterId: "x", Revision: 7, MetaReplicas: replicasOn(1, nodes...)}
	for _, id := range nodes {
		m.Nodes = append(m.Nodes, &pb.Node{Id: id, Name: "name of " + id})
	}
	m.Shards = []*pb.Shard{{Id: 1, EndSlot: api.SlotCount, Epoch: 1, LastIncarnation: 1, Replicas: replicasOn(1, nodes...)}}
	position := raft.State{Index: 4, Term: 2, Configuration: raft.Configuration{Index: 4}}
	for _, id := range nodes {
		position.Configuration.Servers = append(position.Configuration.Servers, raft.Server{Replica: raft.ReplicaID{Node: api.NodeID(id), Incarnation: 1}, Voter: true})
	}
	storage, err := site(disk).storage(testDir + "/raft")
	if err != nil {
		t.Fatal(err)
	}
	_, err = raft.FoundStopped(storage, raft.MetaGroup, 1, position, func() error {
		return meta.WriteState(disk, testDir+"/meta/1", &peerv1.MetaState{Index: 4, Term: 2, Map: m, Configuration: position.Configuration.Marshal(), LastShardId: 1, ShardCount: 1})
	})
	err = errors.Join(err, storage.Close(), disk.SyncDir(testDir+"/meta/1"), disk.SyncDir(testDir+"/meta"), disk.SyncDir(testDir+"/shards"),
		pledge.WriteCluster(disk, testDir, pledge.Cluster{ID: "x", Founders: []api.NodeID{self}, Shards: 1}), meta.WriteSeenMap(disk, testDir, m))
	if err != nil {
		t.Fatal(err)
	}
	view, err := Collect(site(disk))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Make([]*View{view}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return disk, p
}

// viewOf is what Collect says of a disk, as text.
func viewOf(t *testing.T, disk *vfs.Mem) string {
	t.Helper()
	v, err := Collect(site(disk))
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func mustApply(t *testing.T, disk *vfs.Mem, p *Plan) {
	t.Helper()
	if _, err := Apply(site(disk), p, p.ID); err != nil {
		t.Fatal(err)
	}
}

// whole fails unless the shard of a disk serves with all that was written, and takes more.
func whole(t *testing.T, disk *vfs.Mem, p *Plan) {
	t.Helper()
	g := p.group(1)
	serve(t, disk, api.NodeID(g.Node), g.Incarnation, nil, func(s *shard.Shard) {
		find(t, s, written)
		put(t, s, written)
	})
}

// TestAPlanIsAppliedOnce: the shard goes on alone with everything of its tables and its log, the map names only it, and what was there
// before is kept. A second run does nothing, and what the plan does not know is refused.
func TestAPlanIsAppliedOnce(t *testing.T) {
	disk, p := stopped(t)
	if _, err := Apply(site(disk), p, "something else"); err == nil || !strings.Contains(err.Error(), "--accept "+p.ID) {
		t.Errorf("a plan that is not accepted: %v", err)
	}
	other, _ := stopped(t)
	if _, err := Apply(site(other), p, p.ID); err == nil || !strings.Contains(err.Error(), "is not in the plan") {
		t.Errorf("a node that is not in the plan: %v", err)
	}
	ran := disk.KillClone()
	serve(t, ran, api.NodeID(p.Nodes[0].ID), 1, nil, func(s *shard.Shard) { put(t, s, written) })
	if _, err := Apply(site(ran), p, p.ID); err == nil || !strings.Contains(err.Error(), "the node ran since") { // RC4
		t.Errorf("a node that ran: %v", err)
	}
	_, lock, err := datadir.OpenStopped(disk, testDir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Apply(site(disk), p, p.ID); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("a node that runs: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	mustApply(t, disk, p)
	after := viewOf(t, disk)
	mustApply(t, disk, p)
	if again := viewOf(t, disk); again != after {
		t.Errorf("the second time:\n%s\nafter the first:\n%s", again, after)
	}
	v, err := ParseView([]byte(after))
	if err != nil || v.Cluster != p.NewCluster || len(v.Replicas) != 2 || len(v.Replicas[0].Members) != 1 || len(v.Replicas[1].Members) != 1 {
		t.Fatalf("%s, %v", after, err)
	}
	var state peerv1.MetaState
	if err := proto.Unmarshal(v.Replicas[0].State, &state); err != nil || len(state.Map.Nodes) != 1 || state.Map.ClusterId != p.NewCluster {
		t.Errorf("the map is %v, %v", &state, err)
	}
	if there, err := disk.List(testDir + "/recovery-" + p.ID + "/old/shards"); err != nil || len(there) != 1 {
		t.Errorf("the old directory has %v, %v", there, err)
	}
	whole(t, disk, p)
}

// TestACrashOfApplyIsMadeUpFor (RC2, RC3): at each call of the disk, with what a crash may keep of it. Until the end no node starts on the
// directory, unless nothing was begun.
func TestACrashOfApplyIsMadeUpFor(t *testing.T) {
	random := testkit.Rand(t)
	disk, p := stopped(t)
	before := viewOf(t, disk)
	var mu sync.Mutex
	var clones []*vfs.Mem
	disk.OnCall(func(vfs.Op, string) {
		mu.Lock()
		defer mu.Unlock()
		clones = append(clones, disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepRandom, Rand: random}), disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepNone}))
	})
	mustApply(t, disk, p)
	disk.OnCall(nil)
	after := viewOf(t, disk)
	t.Logf("%d crash points", len(clones))
	unfinished := 0
	for i, clone := range clones {
		switch _, lock, err := datadir.Open(clone, testDir, entropy.System()); {
		case errors.Is(err, datadir.ErrRecovering):
			unfinished++
		case err != nil:
			t.Fatalf("crash point %d: %v", i, err)
		default:
			if err := lock.Close(); err != nil {
				t.Fatal(err)
			}
			if got := viewOf(t, clone); got != before && got != after {
				t.Fatalf("crash point %d: a node starts on a directory that is neither old nor new:\n%s", i, got)
			}
		}
		mustApply(t, clone, p)
		if got := viewOf(t, clone); got != after {
			t.Fatalf("crash point %d: applied again:\n%s\nwithout a crash:\n%s", i, got, after)
		}
		if i%(len(clones)/5) == 0 {
			whole(t, clone, p)
		}
	}
	if unfinished == 0 {
		t.Error("no crash left anything to finish")
	}
}

// TestACallThatFailsIsMadeUpFor (RC3): each call of the disk fails once, and Apply is run again.
func TestACallThatFailsIsMadeUpFor(t *testing.T) {
	disk, p := stopped(t)
	first := disk.KillClone()
	mustApply(t, first, p)
	after := viewOf(t, first)
	failed := 0
	for at := 0; ; at++ {
		clone := disk.KillClone()
		var mu sync.Mutex
		calls, injected := 0, false
		faulty := vfs.NewFault(clone, vfs.InjectorFunc(func(op vfs.Op, name string) error {
			mu.Lock()
			defer mu.Unlock()
			if calls++; calls-1 != at {
				return nil
			}
			injected = true
			return fmt.Errorf("%v of %s fails", op, name)
		}))
		if _, err := Apply(site(faulty), p, p.ID); err != nil {
			failed++
		}
		if !injected {
			break
		}
		mustApply(t, clone, p)
		if got := viewOf(t, clone); got != after {
			t.Fatalf("after call %d failed:\n%s\nwithout:\n%s", at, got, after)
		}
	}
	t.Logf("%d calls made it fail", failed)
	if failed == 0 {
		t.Error("no call that failed was noticed")
	}
}
