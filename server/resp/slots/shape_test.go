package slots

import (
	"fmt"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

// status is a cluster of three nodes and three shards, each on all nodes. leaders are by shard;
// an empty one is unknown.
func status(leaders ...string) *pb.StatusResponse {
	s := &pb.StatusResponse{Map: &pb.ClusterMap{Revision: 7}}
	for i, id := range []string{"a", "b", "c"} {
		s.Map.Nodes = append(s.Map.Nodes, &pb.Node{Id: id, RespClusterAddress: fmt.Sprintf("10.0.0.%d:7379", i+1)})
		s.Nodes = append(s.Nodes, &pb.NodeStatus{NodeId: id, Liveness: "alive"})
	}
	bounds := []uint32{0, 5461, 10922, api.SlotCount}
	for i, leader := range leaders {
		shard := &pb.Shard{Id: uint64(i + 1), StartSlot: bounds[i], EndSlot: bounds[i+1]}
		for _, id := range []string{"a", "b", "c"} {
			shard.Replicas = append(shard.Replicas, &pb.Replica{NodeId: id})
		}
		s.Map.Shards = append(s.Map.Shards, shard)
		if leader != "" {
			s.Leaders = append(s.Leaders, &pb.ShardLeader{ShardId: uint64(i + 1), NodeId: leader})
		}
	}
	return s
}

// describe writes each range as its slots and the hosts of its nodes.
func describe(ranges []Range) string {
	var b strings.Builder
	for _, r := range ranges {
		fmt.Fprintf(&b, "%d-%d", r.Start, r.End-1)
		for _, n := range r.Nodes {
			b.WriteString(" " + strings.TrimPrefix(n.Host, "10.0.0."))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func lines(sh *Shape) string {
	var b strings.Builder
	for _, n := range sh.Nodes {
		b.WriteString(sh.Line(n) + "\n")
	}
	return b.String()
}

func TestEachRangeHasItsLeaderFirst(t *testing.T) {
	sh := New(status("c", "a", "b"), "a")
	if got := describe(sh.Ranges); got != "0-5460 3 1 2\n5461-10921 1 2 3\n10922-16383 2 1 3\n" {
		t.Error(got)
	}
	if sh.Leaders() != 3 || sh.SlotsAssigned != api.SlotCount || sh.SlotsFailed != 0 || sh.Revision != 7 {
		t.Errorf("%+v", sh)
	}
}

func TestALineIsThatOfRedis(t *testing.T) {
	const a, b, c = "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8", "e9d71f5ee7c92d6dc9e92ffdad17b8bd49418f98", "84a516841ba77a5b4648de2cd0dfcb30ea46dbb4"
	s := status("c", "c", "a")
	s.Nodes[1].Liveness = "dead"
	want := a + " 10.0.0.1:7379@17379 myself,master - 0 0 7 connected 10922-16383\n" +
		b + " 10.0.0.2:7379@17379 slave,fail " + c + " 0 0 7 disconnected\n" +
		c + " 10.0.0.3:7379@17379 master - 0 0 7 connected 0-10921\n"
	if got := lines(New(s, "a")); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestRangesOfOneLeaderAreOneGroup(t *testing.T) {
	groups := New(status("c", "a", "c"), "a").ByLeader()
	if len(groups) != 2 || len(groups[0].Ranges) != 2 || len(groups[0].Nodes) != 3 || groups[0].Nodes[0].Host != "10.0.0.3" {
		t.Fatalf("%+v", groups)
	}
	if joined := New(status("c", "c", "c"), "a").ByLeader(); len(joined) != 1 || len(joined[0].Ranges) != 1 || joined[0].Ranges[0].End != api.SlotCount {
		t.Fatalf("%+v", joined)
	}
}

// UT1: a slot always has a node to ask, because every node forwards.
func TestEverySlotHasANode(t *testing.T) {
	unknown := status("", "b", "")
	dead := status("", "", "")
	dead.Nodes[1].Liveness = "dead"
	noListener := status("b", "b", "b")
	noListener.Map.Nodes[1].RespClusterAddress = ""
	elsewhere := status("b", "b", "b")
	for _, shard := range elsewhere.Map.Shards {
		shard.Replicas = shard.Replicas[1:]
	}
	elsewhere.Map.Nodes[1].RespClusterAddress, elsewhere.Map.Nodes[2].RespClusterAddress = "", ""
	for name, s := range map[string]*pb.StatusResponse{"leaders unknown": unknown, "a node dead": dead, "leader without the listener": noListener, "replicas without it": elsewhere} {
		sh := New(s, "a")
		covered := uint32(0)
		for _, r := range sh.Ranges {
			if r.Start != covered || len(r.Nodes) == 0 {
				t.Errorf("%s: %s", name, describe(sh.Ranges))
			}
			covered = r.End
		}
		if covered != api.SlotCount {
			t.Errorf("%s: slots up to %d have a node", name, covered)
		}
	}
	if got := describe(New(unknown, "c").Ranges); got != "0-5460 3 1 2\n5461-10921 2 1 3\n10922-16383 3 1 2\n" {
		t.Error("this node does not stand in for an unknown leader:\n" + got)
	}
}

func TestSlotsWithoutALiveMajorityFail(t *testing.T) {
	s := status("a", "a", "a")
	s.Nodes[1].Liveness, s.Nodes[2].Liveness = "dead", "left"
	if sh := New(s, "a"); sh.SlotsFailed != api.SlotCount {
		t.Errorf("%d slots fail", sh.SlotsFailed)
	}
}

func TestBeforeTheClusterHasFormedThereIsNothing(t *testing.T) {
	sh := New(&pb.StatusResponse{}, "a")
	if len(sh.Nodes)+len(sh.Ranges)+len(sh.ByLeader()) != 0 || sh.ShardIDOf("a") == "" || sh.NodeWithID([]byte("x")) != nil {
		t.Errorf("%+v", sh)
	}
}

func TestShardIDsAreThoseOfTheShardThatIsLed(t *testing.T) {
	sh := New(status("c", "a", "c"), "a")
	if sh.ShardIDOf("a") != RedisID("shard 2") || sh.ShardIDOf("c") != RedisID("shard 1") || sh.ShardIDOf("b") != RedisID("shard 1") {
		t.Error(sh.ShardIDOf("a"), sh.ShardIDOf("b"), sh.ShardIDOf("c"))
	}
}

func TestIDsHaveTheFormOfRedis(t *testing.T) {
	if id := RedisID("0b3f6d0e-6f0a-4d3e-9c55-0a1b2c3d4e5f"); len(id) != 40 || strings.Trim(id, "0123456789abcdef") != "" {
		t.Error(id)
	}
}
