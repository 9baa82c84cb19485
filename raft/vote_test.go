package raft

import (
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
		err = asker.RequestVote("", empty, &hraft.RequestVoteRequest{RPCHeader: header, Candidate: []byte("n1#1"), Term: 50, LastLogIndex: 1000, LastLogTerm: 49}, &vote)
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
