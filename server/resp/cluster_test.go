package resp

import (
	"bufio"
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/server"
	"github.com/lightning-db/lightning/server/resp/slots"
)

// halves is a Topology of two nodes: this one leads the slots below 8192, "far" the others. Both
// hold all.
type halves struct {
	mu     sync.Mutex
	leader api.NodeID // of the upper half
	here   bool       // whether this node holds the upper half
	moves  *rand.Rand // it is led elsewhere and here in turns that these numbers choose
}

func (h *halves) Locate(slot api.Slot) (api.NodeID, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slot < 8192 {
		return "node-1", true
	}
	if h.moves != nil {
		h.leader = []api.NodeID{"far", "node-1"}[h.moves.IntN(2)]
	}
	return h.leader, h.here
}

func (h *halves) Map() *pb.ClusterMap { return h.Status().GetMap() }

func (h *halves) Status() *pb.StatusResponse {
	leader, _ := h.Locate(8192)
	replicas := []*pb.Replica{{NodeId: "node-1"}, {NodeId: "far"}}
	s := &pb.StatusResponse{
		Map: &pb.ClusterMap{
			Revision: 3,
			Nodes:    []*pb.Node{{Id: "node-1", RespClusterAddress: "10.0.0.1:7379"}, {Id: "far", RespClusterAddress: "far.example:7379"}, {Id: "deaf"}},
			Shards:   []*pb.Shard{{Id: 1, EndSlot: 8192, Replicas: replicas}, {Id: 2, StartSlot: 8192, EndSlot: api.SlotCount, Replicas: replicas}},
		},
		Leaders: []*pb.ShardLeader{{ShardId: 1, NodeId: "node-1"}},
	}
	if leader != "" {
		s.Leaders = append(s.Leaders, &pb.ShardLeader{ShardId: 2, NodeId: string(leader)})
	}
	return s
}

func (h *halves) SlotKeys(_ context.Context, _ api.Namespace, slot api.Slot, limit int) ([][]byte, error) {
	return [][]byte{[]byte("k1"), []byte("k2"), []byte("k3")}[:min(limit, 3)], nil
}

func (h *halves) SlotCount(context.Context, api.Namespace, api.Slot) (uint64, error) { return 3, nil }

func (h *halves) set(leader api.NodeID, here bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leader, h.here = leader, here
}

func startCluster(t *testing.T) (*halves, *memory, string) {
	h := &halves{leader: "far", here: true}
	_, m, address := startServer(t, func(o *Options) {
		o.Topology, o.Cluster, o.StaleReadBound = h, true, 250*time.Millisecond
	})
	return h, m, address
}

// The slot of a is 15495, that of b 3300, that of foo{b} too.
const movedA = "-MOVED 15495 far.example:7379\r\n"

func TestAClientIsSentToTheLeaderOfItsSlot(t *testing.T) {
	h, _, address := startCluster(t)
	c := dial(t, address)
	in := bufio.NewReader(c)
	const cross = "-CROSSSLOT Keys in request don't hash to the same slot\r\n"
	for _, step := range []struct{ command, want string }{
		{"GET a", movedA}, {"SET a 1", movedA}, {"WATCH a", movedA}, {"DEL a {a}1", movedA}, {"SSUBSCRIBE a", movedA}, {"OBJECT ENCODING a", movedA},
		{"GET b", "$-1\r\n"}, {"SET b 1", "+OK\r\n"}, {"MGET b foo{b}", "*2\r\n$1\r\n1\r\n$-1\r\n"},
		{"MGET a b", cross}, {"MSET a 1 b 2", cross}, {"DEL b a", cross}, {"RENAME b a", cross}, {"WATCH a b", cross}, {"EXISTS c b", cross},
		{"PING", "+PONG\r\n"}, {"READONLY x", "-ERR wrong number of arguments for 'readonly' command\r\n"},
		{"SELECT 0", "+OK\r\n"}, {"SELECT 1", "-ERR SELECT is not allowed in cluster mode\r\n"},
		{"ASKING", "+OK\r\n"}, {"GET a", movedA},
	} {
		if got := all(t, c, in, step.command); got != step.want {
			t.Errorf("%s: %q, want %q", step.command, got, step.want)
		}
	}
	for _, leader := range []api.NodeID{"", "deaf", "node-1"} {
		h.set(leader, true)
		if got := all(t, c, in, "GET a"); got != "$-1\r\n" {
			t.Errorf("led by %q: %q, though only this node can be asked", leader, got)
		}
	}
}

func TestALeaderThatMovesMeanwhileBreaksNoCommand(t *testing.T) {
	h, _, address := startCluster(t)
	c := dial(t, address)
	in := bufio.NewReader(c)
	h.mu.Lock()
	h.moves = rand.New(rand.NewPCG(1, 1))
	h.mu.Unlock()
	for range 100 {
		if got := all(t, c, in, "SET a 1"); got != movedA && got != "+OK\r\n" {
			t.Fatalf("%q", got)
		}
	}
}

func TestABlockOfTheClusterListenerHasOneSlot(t *testing.T) {
	h, _, address := startCluster(t)
	c := dial(t, address)
	in := bufio.NewReader(c)
	const abort = "-EXECABORT Transaction discarded because of previous errors.\r\n"
	if got := all(t, c, in, "MULTI", "SET a 1", "SET b 1", "EXEC"); got != "+OK\r\n"+movedA+"+QUEUED\r\n"+abort {
		t.Errorf("%q", got)
	}
	h.set("node-1", true)
	const cross = "-CROSSSLOT Keys in request don't hash to the same slot\r\n"
	if got := all(t, c, in, "MULTI", "SET a 1", "SET b 1", "EXEC", "EXEC"); got != "+OK\r\n+QUEUED\r\n+QUEUED\r\n"+cross+"-ERR EXEC without MULTI\r\n" {
		t.Errorf("%q", got)
	}
	if got := all(t, c, in, "WATCH a", "MULTI", "SET b 1", "EXEC"); got != "+OK\r\n+OK\r\n+QUEUED\r\n"+cross {
		t.Errorf("%q", got)
	}
	if got := all(t, c, in, "WATCH b", "MULTI", "SET foo{b} 1", "PING", "EXEC"); got != "+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+PONG\r\n" {
		t.Errorf("%q", got)
	}
}

func TestReadOnlyReadsTheReplicaHereWithinItsBound(t *testing.T) {
	h, m, address := startCluster(t)
	c := dial(t, address)
	in := bufio.NewReader(c)
	var queries []server.Query
	m.onRead = func(q server.Query) error { queries = append(queries, q); return nil }
	if got := all(t, c, in, "READONLY", "GET a", "SET a 1", "GET b", "MGET {a}1 {a}2"); got != "+OK\r\n$-1\r\n"+movedA+"$-1\r\n*2\r\n$-1\r\n$-1\r\n" {
		t.Fatalf("%q", got)
	}
	if len(queries) != 3 || !queries[0].Here || queries[0].MaxStaleness != 250*time.Millisecond || queries[1].Here || queries[1].MaxStaleness != 0 || !queries[2].Here {
		t.Errorf("%+v", queries)
	}
	h.set("far", false)
	if got := all(t, c, in, "GET a"); got != movedA {
		t.Errorf("not held here: %q", got)
	}
	h.set("far", true)
	m.onRead = func(q server.Query) error {
		if q.Here {
			return api.Errorf(api.CodeTooStale, "cannot prove it")
		}
		return nil
	}
	if got := all(t, c, in, "GET a", "MGET {a}1 a"); got != movedA+movedA {
		t.Errorf("too stale: %q", got)
	}
	if got := all(t, c, in, "READWRITE", "GET a", "READONLY", "RESET", "GET a"); got != "+OK\r\n"+movedA+"+OK\r\n+RESET\r\n"+movedA {
		t.Errorf("%q", got)
	}
}

// The layouts are those of Redis 7; clients parse them.
func TestClusterAnswersAsRedisDoes(t *testing.T) {
	_, _, address := startCluster(t)
	c := dial(t, address)
	in := bufio.NewReader(c)
	id := strings.TrimSpace(strings.Split(all(t, c, in, "CLUSTER MYID"), "\r\n")[1])
	if len(id) != 40 {
		t.Fatal(id)
	}
	replace := strings.NewReplacer(id, "<me>", slots.RedisID("far"), "<far>")
	for _, step := range []struct{ command, want string }{
		{"CLUSTER SLOTS", "*2 *4 :0 :8191 *4 $8 10.0.0.1 :7379 $40 <me> *0 *4 $11 far.example :7379 $40 <far> *0 *4 :8192 :16383 *4 $11 far.example :7379 $40 <far> *0 *4 $8 10.0.0.1 :7379 $40 <me> *0 "},
		{"CLUSTER NODES", "$200 <me> 10.0.0.1:7379@17379 myself,master - 0 0 3 connected 0-8191\n<far> far.example:7379@17379 master - 0 0 3 connected 8192-16383\n "},
		{"CLUSTER KEYSLOT a", ":15495 "}, {"CLUSTER COUNTKEYSINSLOT 5", ":3 "}, {"CLUSTER GETKEYSINSLOT 5 2", "*2 $2 k1 $2 k2 "},
		{"CLUSTER COUNTKEYSINSLOT a", "-ERR value is not an integer or out of range "}, {"CLUSTER COUNTKEYSINSLOT 16384", "-ERR Invalid slot "},
		{"CLUSTER GETKEYSINSLOT 1 -10", "-ERR Invalid slot or number of keys "}, {"CLUSTER GETKEYSINSLOT 1 a", "-ERR value is not an integer or out of range "},
		{"CLUSTER LINKS", "*0 "}, {"CLUSTER COUNT-FAILURE-REPORTS abc", "-ERR Unknown node abc "}, {"CLUSTER COUNT-FAILURE-REPORTS " + id, ":0 "},
		{"CLUSTER REPLICAS abc", "-ERR Unknown node abc "}, {"CLUSTER REPLICAS " + id, "*0 "}, {"CLUSTER FOO", "-ERR unknown subcommand 'FOO'. Try CLUSTER HELP. "},
		{"CLUSTER RESET", "-ERR CLUSTER RESET is not supported: the cluster places its shards itself "},
		{"INFO cluster", "$30 # Cluster cluster_enabled:1  "},
	} {
		if got := strings.ReplaceAll(replace.Replace(all(t, c, in, step.command)), "\r\n", " "); got != step.want {
			t.Errorf("%s: %q, want %q", step.command, got, step.want)
		}
	}
	all(t, c, in, "HELLO 3")
	node := func(id, host, role string) string {
		return "%7 $2 id $40 " + id + " $4 port :7379 $2 ip " + host + " $8 endpoint " + host + " $4 role " + role + " $18 replication-offset :0 $6 health $6 online "
	}
	want := "*2 %2 $5 slots *2 :0 :8191 $5 nodes *2 " + node("<me>", "$8 10.0.0.1", "$6 master") + node("<far>", "$11 far.example", "$7 replica") +
		"%2 $5 slots *2 :8192 :16383 $5 nodes *2 " + node("<far>", "$11 far.example", "$6 master") + node("<me>", "$8 10.0.0.1", "$7 replica")
	if got := strings.ReplaceAll(replace.Replace(all(t, c, in, "CLUSTER SHARDS")), "\r\n", " "); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := all(t, c, in, "CLUSTER INFO"); !strings.HasPrefix(got, "=") || !strings.Contains(got, "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\n") || !strings.Contains(got, "cluster_known_nodes:2\r\ncluster_size:2\r\n") {
		t.Error(got)
	}
	if got := all(t, c, in, "HELLO"); !strings.Contains(got, "$4\r\nmode\r\n$7\r\ncluster\r\n") {
		t.Error(got)
	}
}

func TestWaitTellsHowManyMoreNodesHaveAWrite(t *testing.T) {
	_, _, address := startCluster(t)
	c := dial(t, address)
	if got := all(t, c, bufio.NewReader(c), "WAIT 5 0"); got != ":1\r\n" {
		t.Error(got)
	}
}
