package raft

import "github.com/lightning-db/lightning/api"

// GroupStatus is what one replica knows of its group. The fields are read one after the other
// and may be of slightly different moments.
type GroupStatus struct {
	Group     GroupID
	Replica   ReplicaID
	Role      string // Leader, Follower, Candidate or Shutdown
	Ready     bool   // leads and is ready to serve
	Leader    api.NodeID
	Term      api.Term
	Commit    api.Index
	Applied   api.Index // by the state machine
	Durable   api.Index // in the state machine
	FirstLog  api.Index // 0 when the log is empty
	LastLog   api.Index
	Voters    []ReplicaID
	Elections uint64 // times this replica became ready to lead since it started
	// Snapshots received and put in place, and sent, since the start.
	SnapshotsInstalled uint64
	SnapshotsSent      uint64
	// Err is why the group has stopped, nil while it runs.
	Err error
}

// Status reports the replica's state.
func (g *Group) Status() GroupStatus {
	r := g.current.Load().raft
	first, _ := g.store.FirstIndex() // held in memory, cannot fail
	last, _ := g.store.LastIndex()
	s := GroupStatus{
		Group: g.id, Replica: g.replica, Role: r.State().String(), Ready: g.IsReadyLeader(),
		Commit: api.Index(r.CommitIndex()), Applied: api.Index(g.applier.applied.Load()),
		Durable:  g.opts.StateMachine.Durable().Index,
		FirstLog: api.Index(first), LastLog: api.Index(last),
		Elections:          g.elections.Load(),
		SnapshotsInstalled: g.applier.installed.Load(), SnapshotsSent: g.sent.Load(),
		Err: g.unwell(),
	}
	s.Leader, s.Term = g.Leader()
	if c, err := configurationFromLibrary(0, r.GetConfiguration().Configuration()); err == nil {
		s.Voters = c.Voters()
	}
	return s
}
