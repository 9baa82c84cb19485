package meta

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/meta/placement"
	"github.com/lightning-db/lightning/raft"
)

func openMachine(t testing.TB, disk vfs.FS) *Machine {
	t.Helper()
	m, err := OpenMachine(disk, "meta")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func initCommand(cluster string, founders ...string) *peerv1.MetaCommand {
	return &peerv1.MetaCommand{Op: &peerv1.MetaCommand_Init{Init: &peerv1.MetaInit{
		ClusterId: cluster, FounderIds: founders, ShardCount: uint32(len(founders)),
	}}}
}

func node(id, name string) *pb.Node {
	return &pb.Node{Id: id, Name: name, GrpcAddress: "h:1", GossipAddress: "h:2"}
}

func registerCommand(cluster string, n *pb.Node) *peerv1.MetaCommand {
	return &peerv1.MetaCommand{Op: &peerv1.MetaCommand_RegisterNode{RegisterNode: &peerv1.MetaRegisterNode{ClusterId: cluster, Node: n}}}
}

func shardsCommand(nodes ...api.NodeID) *peerv1.MetaCommand {
	var c peerv1.MetaCreateShards
	described := make([]placement.Node, len(nodes))
	for i, id := range nodes {
		described[i].ID = id
	}
	for _, s := range placement.Shards("C", placement.DefaultReplication, described, len(nodes)) {
		c.Shards = append(c.Shards, &peerv1.MetaNewShard{StartSlot: s.Arc.Start, EndSlot: s.Arc.End, NodeIds: texts(s.Replicas)})
	}
	return &peerv1.MetaCommand{Op: &peerv1.MetaCommand_CreateShards{CreateShards: &c}}
}

func tickCommand() *peerv1.MetaCommand {
	return &peerv1.MetaCommand{Op: &peerv1.MetaCommand_Tick{Tick: &peerv1.MetaTick{}}}
}

func encode(t testing.TB, c *peerv1.MetaCommand) []byte {
	t.Helper()
	data, err := encodeCommand(c)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// apply applies one command as the next entry.
func apply(t testing.TB, m *Machine, c *peerv1.MetaCommand) *peerv1.MetaResult {
	t.Helper()
	results, err := m.Apply([]raft.Entry{{Index: m.now.Load().position.Index + 1, Term: 1, Data: encode(t, c)}})
	if err != nil {
		t.Fatal(err)
	}
	return results[0].(*peerv1.MetaResult)
}

func expectCode(t *testing.T, r *peerv1.MetaResult, want peerv1.MetaCode) {
	t.Helper()
	if r.GetCode() != want {
		t.Errorf("got %s, want %s", r.GetCode(), want)
	}
}

const (
	ok         = peerv1.MetaCode_META_CODE_OK
	knownName  = peerv1.MetaCode_META_CODE_KNOWN_NAME
	wrong      = peerv1.MetaCode_META_CODE_WRONG_CLUSTER
	notInit    = peerv1.MetaCode_META_CODE_NOT_INITIALISED
	invalid    = peerv1.MetaCode_META_CODE_INVALID
	full       = peerv1.MetaCode_META_CODE_FULL
	unexpected = peerv1.MetaCode_META_CODE_UNSPECIFIED
)

func TestTheMapIsInitialisedOnce(t *testing.T) {
	m := openMachine(t, vfs.NewMem())
	if m.Map() != nil {
		t.Fatal("a map before the cluster is initialised")
	}
	expectCode(t, apply(t, m, registerCommand("C", node("a", "n"))), notInit)
	expectCode(t, apply(t, m, shardsCommand("a")), notInit)
	expectCode(t, apply(t, m, initCommand("", "a")), invalid)
	expectCode(t, apply(t, m, initCommand("C", "a")), ok)
	revision := m.Map().Revision
	expectCode(t, apply(t, m, initCommand("C", "a")), ok)
	expectCode(t, apply(t, m, initCommand("D", "a")), wrong)
	if m.Map().Revision != revision || m.Map().ClusterId != "C" {
		t.Errorf("%v", m.Map())
	}
}

func TestNodesAreRegisteredByIdentity(t *testing.T) {
	m := openMachine(t, vfs.NewMem())
	apply(t, m, initCommand("C", "a", "b"))
	expectCode(t, apply(t, m, registerCommand("C", node("a", "one"))), ok)
	expectCode(t, apply(t, m, registerCommand("C", node("b", "two"))), ok)
	expectCode(t, apply(t, m, registerCommand("D", node("c", "three"))), wrong)
	expectCode(t, apply(t, m, registerCommand("C", node("", "three"))), invalid)
	expectCode(t, apply(t, m, registerCommand("C", node("c", ""))), invalid)
	before := m.Map()

	r := apply(t, m, registerCommand("C", node("c", "one")))
	if expectCode(t, r, knownName); r.HolderId != "a" {
		t.Errorf("the holder is %q", r.HolderId)
	}
	expectCode(t, apply(t, m, registerCommand("C", node("a", "two"))), knownName)
	expectCode(t, apply(t, m, registerCommand("C", node("a", "one"))), ok)
	if m.Map() != before && m.Map().Revision != before.Revision {
		t.Errorf("refusals and repetitions changed the map: %v", m.Map())
	}

	moved := node("a", "renamed")
	moved.GrpcAddress, moved.Ordinal = "h:9", 77
	expectCode(t, apply(t, m, registerCommand("C", moved)), ok)
	got := m.Map().Nodes[0]
	if got.Name != "renamed" || got.GrpcAddress != "h:9" || got.Ordinal != 1 || m.Map().Revision != before.Revision+1 {
		t.Errorf("%v, revision %d", got, m.Map().Revision)
	}
	if before.Nodes[0].Name != "one" {
		t.Error("a map that was handed out has changed (M2)")
	}
	expectCode(t, apply(t, m, registerCommand("C", node("c", "one"))), ok)
	if m.Map().Nodes[2].Ordinal != 3 {
		t.Errorf("%v", m.Map().Nodes)
	}
}

func TestTheMapIsBounded(t *testing.T) {
	m := openMachine(t, vfs.NewMem())
	apply(t, m, initCommand("C", "a"))
	var entries []raft.Entry
	for i := range maxNodes {
		id := fmt.Sprint("n", i)
		entries = append(entries, raft.Entry{Index: api.Index(10 + i), Term: 1, Data: encode(t, registerCommand("C", node(id, id)))})
	}
	if _, err := m.Apply(entries); err != nil {
		t.Fatal(err)
	}
	expectCode(t, apply(t, m, registerCommand("C", node("one too many", "x"))), full)
	expectCode(t, apply(t, m, registerCommand("C", node("n5", "renamed"))), ok)
}

func TestShardsAreCreatedOnce(t *testing.T) {
	m := openMachine(t, vfs.NewMem())
	apply(t, m, initCommand("C", "a", "b"))
	apply(t, m, registerCommand("C", node("a", "one")))
	expectCode(t, apply(t, m, shardsCommand("a", "b")), invalid) // b is not registered
	apply(t, m, registerCommand("C", node("b", "two")))
	for name, shards := range map[string][]*peerv1.MetaNewShard{
		"none":        nil,
		"gap":         {{StartSlot: 1, EndSlot: 16384, NodeIds: []string{"a"}}},
		"short":       {{StartSlot: 0, EndSlot: 16383, NodeIds: []string{"a"}}},
		"overlap":     {{StartSlot: 0, EndSlot: 9, NodeIds: []string{"a"}}, {StartSlot: 8, EndSlot: 16384, NodeIds: []string{"a"}}},
		"too long":    {{StartSlot: 0, EndSlot: 16385, NodeIds: []string{"a"}}},
		"no replicas": {{StartSlot: 0, EndSlot: 16384}},
		"repeated":    {{StartSlot: 0, EndSlot: 16384, NodeIds: []string{"a", "a"}}},
	} {
		r := apply(t, m, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_CreateShards{CreateShards: &peerv1.MetaCreateShards{Shards: shards}}})
		if r.GetCode() != invalid {
			t.Errorf("%s: %s (M5)", name, r.GetCode())
		}
	}
	expectCode(t, apply(t, m, shardsCommand("a", "b")), ok)
	first := m.Map()
	if len(first.Shards) != 2 || first.Shards[0].Id != 1 || first.Shards[1].Id != 2 || first.Shards[0].Epoch != 1 || first.Shards[0].Replicas[0].Incarnation != 1 {
		t.Errorf("%v", first.Shards)
	}
	expectCode(t, apply(t, m, shardsCommand("b")), ok)
	if m.Map().Revision != first.Revision || len(m.Map().Shards) != 2 {
		t.Errorf("shards were created twice: %v", m.Map().Shards)
	}
}

func TestTheMapShowsTheMembersOfTheMetaGroup(t *testing.T) {
	m := openMachine(t, vfs.NewMem())
	configuration := raft.Configuration{Index: 1, Servers: []raft.Server{
		{Replica: raft.ReplicaID{Node: "a", Incarnation: 1}, Voter: true}, {Replica: raft.ReplicaID{Node: "b", Incarnation: 1}},
	}}
	results, err := m.Apply([]raft.Entry{
		{Index: 1, Term: 1, Configuration: &configuration},
		{Index: 3, Term: 1, Data: encode(t, initCommand("C", "a"))},
	})
	if err != nil || len(results) != 2 || results[0] != nil {
		t.Fatal(results, err)
	}
	if r := m.Map().MetaReplicas; len(r) != 2 || r[0].NodeId != "a" || r[0].Learner || r[1].NodeId != "b" || !r[1].Learner {
		t.Errorf("%v", r)
	}
	if err := m.Flush(); err != nil {
		t.Fatal(err)
	}
	again := openMachine(t, m.fsys).Durable()
	if again.Index != 3 || again.Term != 1 || len(again.Configuration.Servers) != 2 || again.Configuration.Index != 1 {
		t.Errorf("%+v", again)
	}
}

func TestWhatThisVersionDoesNotKnowStopsTheMachine(t *testing.T) {
	newer, err := proto.Marshal(&peerv1.MetaCommand{Version: commandVersion + 1, Op: &peerv1.MetaCommand_Tick{Tick: &peerv1.MetaTick{}}})
	if err != nil {
		t.Fatal(err)
	}
	noOp, err := proto.Marshal(&peerv1.MetaCommand{Version: commandVersion})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"newer version": newer, "unknown opcode": noOp, "garbage": []byte("garbage")} {
		m := openMachine(t, vfs.NewMem())
		if _, err := m.Apply([]raft.Entry{{Index: 1, Term: 1, Data: data}}); err == nil || m.now.Load().position.Index != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := openMachine(t, vfs.NewMem())
	apply(t, m, tickCommand())
	if _, err := m.Apply([]raft.Entry{{Index: 1, Term: 1, Data: encode(t, tickCommand())}}); err == nil || !strings.Contains(err.Error(), "M1") {
		t.Errorf("an entry that came twice: %v", err)
	}
}

// randomCommand is mostly sensible.
func randomCommand(rng *rand.Rand) *peerv1.MetaCommand {
	id := string(rune('a' + rng.IntN(6)))
	switch rng.IntN(12) {
	case 0:
		return tickCommand()
	case 1:
		return initCommand("C", "a", "b", "c")
	case 2:
		return shardsCommand("a", "b", "c")
	}
	n := node(id, "name-"+string(rune('a'+rng.IntN(8))))
	n.Zone = fmt.Sprint(rng.IntN(3))
	return registerCommand("C", n)
}

// TestReplicasAgreeWhateverTheirBatchesAndRestarts applies one log to replicas that batch, flush,
// crash and install differently.
func TestReplicasAgreeWhateverTheirBatchesAndRestarts(t *testing.T) {
	rng := testkit.Rand(t)
	for range 50 {
		var log []raft.Entry
		for i := range 60 {
			log = append(log, raft.Entry{Index: api.Index(2*i + 2), Term: api.Term(1 + i/20), Data: encode(t, randomCommand(rng))})
		}
		reference := openMachine(t, vfs.NewMem())
		if _, err := reference.Apply(log); err != nil {
			t.Fatal(err)
		}
		want := reference.now.Load().state
		for range 4 {
			m := openMachine(t, vfs.NewMem())
			for m.now.Load().position.Index < log[len(log)-1].Index {
				m = disturb(t, rng, m)
				rest := log
				for len(rest) > 0 && rest[0].Index <= m.now.Load().position.Index {
					rest = rest[1:]
				}
				if _, err := m.Apply(rest[:1+rng.IntN(min(len(rest), 10))]); err != nil {
					t.Fatal(err)
				}
			}
			if got := m.now.Load().state; !proto.Equal(got, want) {
				t.Fatalf("replicas differ:\n%v\n%v", got, want)
			}
		}
	}
}

func disturb(t *testing.T, rng *rand.Rand, m *Machine) *Machine {
	disk := m.fsys.(*vfs.Mem)
	switch rng.IntN(6) {
	case 0:
		if err := m.Flush(); err != nil {
			t.Fatal(err)
		}
	case 1: // crash
		return openMachine(t, disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepRandom, Rand: rng}))
	case 2: // move to another disk by checkpoint
		if m.now.Load().position.Index == 0 {
			return m
		}
		staging := fmt.Sprint("staging-", rng.Uint64()) // a crash may bring removed directories back
		state, err := m.Checkpoint(staging)
		if err != nil || state.Index != m.now.Load().position.Index {
			t.Fatal(state, err)
		}
		other := openMachine(t, disk)
		if err := other.Install(staging); err != nil {
			t.Fatal(err)
		}
		if other.Durable().Index != state.Index {
			t.Fatalf("%+v after the install of %+v", other.Durable(), state)
		}
		return other
	}
	return m
}

func TestOnlyTheFlushedSurvives(t *testing.T) {
	disk := vfs.NewMem()
	m := openMachine(t, disk)
	apply(t, m, initCommand("C", "a"))
	if m.Durable().Index != 0 {
		t.Errorf("durable before a flush: %+v", m.Durable())
	}
	if err := m.Flush(); err != nil {
		t.Fatal(err)
	}
	apply(t, m, registerCommand("C", node("a", "n")))
	again := openMachine(t, disk.CrashClone(vfs.CrashOptions{}))
	if again.Durable().Index != 1 || m.Durable().Index != 1 || again.Map().ClusterId != "C" || len(again.Map().Nodes) != 0 {
		t.Errorf("%+v, %v", again.Durable(), again.Map())
	}
}

// TestAnInstallIsOldOrNewAtEveryCrash crashes at each call of an install.
func TestAnInstallIsOldOrNewAtEveryCrash(t *testing.T) {
	disk := vfs.NewMem()
	m := openMachine(t, disk)
	apply(t, m, initCommand("C", "a"))
	if err := m.Flush(); err != nil {
		t.Fatal(err)
	}
	source := openMachine(t, vfs.NewMem())
	for _, c := range []*peerv1.MetaCommand{initCommand("C", "a"), tickCommand(), registerCommand("C", node("a", "n"))} {
		apply(t, source, c)
	}
	source.fsys = disk
	if _, err := source.Checkpoint("staging/7"); err != nil {
		t.Fatal(err)
	}
	if _, err := source.Checkpoint("staging/7"); err == nil {
		t.Error("a checkpoint into a directory that exists")
	}
	var clones []*vfs.Mem
	disk.OnCall(func(vfs.Op, string) { clones = append(clones, disk.CrashClone(vfs.CrashOptions{})) })
	if err := m.Install("staging/7"); err != nil {
		t.Fatal(err)
	}
	disk.OnCall(nil)
	for i, clone := range append(clones, disk.CrashClone(vfs.CrashOptions{})) {
		again := openMachine(t, clone)
		if index := again.Durable().Index; index != 1 && index != 3 || index == 3 != (len(again.Map().Nodes) == 1) {
			t.Errorf("crash %d: %+v, %v (M4)", i, again.Durable(), again.Map())
		}
	}
	if m.Durable().Index != 3 || len(m.Map().Nodes) != 1 {
		t.Errorf("%+v, %v", m.Durable(), m.Map())
	}
	if names, err := disk.List("staging"); err != nil || len(names) > 0 {
		t.Errorf("the checkpoint is not consumed: %v, %v", names, err)
	}
	if err := m.Install("staging/8"); err == nil {
		t.Error("nothing was installed")
	}
}

func TestAFailedFlushIsSticky(t *testing.T) {
	m := openMachine(t, vfs.NewMem())
	broken := errors.New("input/output error")
	failing := true
	m.fsys = vfs.NewFault(m.fsys, vfs.InjectorFunc(func(o vfs.Op, _ string) error {
		if failing && o == vfs.OpSyncDir {
			return broken
		}
		return nil
	}))
	apply(t, m, tickCommand())
	if err := m.Flush(); !errors.Is(err, broken) || !errors.Is(err, api.ErrStoreFailed) {
		t.Errorf("%v", err)
	}
	failing = false
	if err := m.Flush(); !errors.Is(err, broken) || m.Durable().Index != 0 {
		t.Errorf("the second flush: %v, durable %+v", err, m.Durable())
	}
}

func TestWaitersSeeEachRevisionAbove(t *testing.T) {
	m := openMachine(t, vfs.NewMem())
	got := make(chan *pb.ClusterMap, 1)
	go func() {
		c, _ := m.Wait(context.Background(), 0)
		got <- c
	}()
	apply(t, m, tickCommand())
	apply(t, m, initCommand("C", "a"))
	if c := <-got; c.GetClusterId() != "C" {
		t.Errorf("%v", c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := m.Wait(ctx, m.Map().Revision); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if c, err := m.Wait(ctx, m.Map().Revision-1); err != nil || c == nil {
		t.Errorf("%v, %v", c, err)
	}
}

func FuzzDecodeCommand(f *testing.F) {
	for _, c := range []*peerv1.MetaCommand{tickCommand(), initCommand("C", "a"), registerCommand("C", node("a", "b")), shardsCommand("a", "b", "c")} {
		data, err := encodeCommand(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeCommand(data)
		if err != nil {
			return
		}
		state := &peerv1.MetaState{Map: &pb.ClusterMap{ClusterId: "C", Nodes: []*pb.Node{{Id: "a", Name: "b"}}}}
		other := proto.CloneOf(state)
		r1, r2 := evaluate(state, c), evaluate(other, c)
		if r1.GetCode() == unexpected || !proto.Equal(r1, r2) || !proto.Equal(state, other) {
			t.Fatalf("%v, %v", r1, r2)
		}
	})
}
