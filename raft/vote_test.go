package raft

import (
	"context"
	"testing"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
)

// TestAnEmptyReplicaDoesNotVote (R19): the library grants whoever asks a replica that knows no members. One that is
// new, or that has lost its disk, refuses until its leader has given it something.
func TestAnEmptyReplicaDoesNotVote(t *testing.T) {
	c := newTestCluster(t, 4, func(c *testCluster) { c.founders = 3 })
	c.write(7, "k", "1")
	asker := c.nodes["n1"].groups[7].current.Load().transport
	empty := hraft.ServerAddress(replicaOn("n4").String())
	ask := func() (granted bool, err error) {
		header := hraft.RPCHeader{ProtocolVersion: 3, ID: []byte("n1#1"), Addr: []byte("n1#1")}
		var pre hraft.RequestPreVoteResponse
		err = asker.RequestPreVote("", empty, &hraft.RequestPreVoteRequest{RPCHeader: header, Term: 50, LastLogIndex: 1000, LastLogTerm: 49}, &pre)
		if err != nil || pre.Granted {
			return pre.Granted, err
		}
		var vote hraft.RequestVoteResponse
		err = asker.RequestVote("", empty, &hraft.RequestVoteRequest{RPCHeader: header, Term: 50, LastLogIndex: 1000, LastLogTerm: 49}, &vote)
		return vote.Granted, err
	}
	testkit.Eventually(t, patience, func() bool { return c.nodes["n1"].host.mux.Connected("n4") }, "n1 is not connected to n4")
	if granted, err := ask(); granted || err == nil {
		t.Errorf("an empty replica answered a candidate: granted %v, %v", granted, err)
	}
	if term := c.nodes["n4"].groups[7].Status().Term; term != api.Term(0) {
		t.Errorf("the candidate has moved it to term %d", term)
	}
	c.addLearner("n4")
	c.promote("n4")
	c.converge(7, "k", "1")
	if !c.nodes["n4"].groups[7].current.Load().MayVote() {
		t.Error("a replica that has caught up may not vote")
	}
}

// TestARemovedReplicaDoesNotVote (R20, RM1): another incarnation has taken its place on the node, and knows nothing of the
// votes that it gave. Who asks for the old one gets no answer from the new one, and the old one does not come back.
func TestARemovedReplicaDoesNotVote(t *testing.T) {
	c := newTestCluster(t, 4, func(c *testCluster) { c.founders = 3 })
	c.write(7, "k", "1")
	c.addLearner("n4")
	c.promote("n4")
	old, n4 := replicaOn("n4"), c.nodes["n4"]
	c.remove("n4", 2)
	if err := n4.groups[7].Close(); err != nil {
		t.Fatal(err)
	}
	if err := n4.host.Discard(7, old.Incarnation); err != nil {
		t.Fatal(err)
	}
	if err := n4.startGroup(7); err == nil {
		t.Fatal("a discarded replica was started again")
	}
	fresh := ReplicaID{Node: "n4", Incarnation: 2}
	m, err := openTestMachine(n4.disk, "machine-fresh")
	if err != nil {
		t.Fatal(err)
	}
	g, err := n4.host.Start(GroupOptions{ID: 7, Incarnation: 2, StateMachine: m, Tick: func() []byte { return []byte("tick=n4") }})
	if err != nil {
		t.Fatal(err)
	}
	n4.groups[7], n4.machines[7] = g, m
	c.order("add the new one", func(ctx context.Context, g *Group) (api.Index, error) { return g.AddLearner(ctx, fresh, 0) })
	testkit.Eventually(t, patience, func() bool { return m.get("k") == "1" }, "the new one gets nothing")
	lead := c.leader(7, "n1", "n2", "n3").groups[7].current.Load()
	header := hraft.RPCHeader{ProtocolVersion: 3, ID: []byte("n1#1"), Addr: []byte("n1#1")}
	var vote hraft.RequestVoteResponse
	request := &hraft.RequestVoteRequest{RPCHeader: header, Term: 50, LastLogIndex: 1000, LastLogTerm: 49, LeadershipTransfer: true}
	if err := lead.transport.RequestVote("", hraft.ServerAddress(old.String()), request, &vote); err == nil || vote.Granted {
		t.Errorf("the removed replica has answered a candidate: granted %t", vote.Granted)
	}
}
