package raft

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft/boltlog"
	"github.com/lightning-db/lightning/raft/mux"
)

// faultStorage passes on to another storage and fails what its hooks say.
type faultStorage struct {
	Storage
	write func(what string) error
	read  func(index uint64) error
}

type faultLog struct {
	LogStore
	storage *faultStorage
}

func (s *faultStorage) Open(g GroupID, incarnation uint64) (LogStore, error) {
	l, err := s.Storage.Open(g, incarnation)
	if err != nil {
		return nil, err
	}
	return &faultLog{LogStore: l, storage: s}, nil
}

func (l *faultLog) fault(what string) error {
	return l.storage.write(what)
}

func (l *faultLog) StoreLogs(logs []*hraft.Log) error {
	if err := l.fault("entries"); err != nil {
		return err
	}
	return l.LogStore.StoreLogs(logs)
}

func (l *faultLog) Set(key, value []byte) error {
	if err := l.fault(string(key)); err != nil {
		return err
	}
	return l.LogStore.Set(key, value)
}

func (l *faultLog) SetUint64(key []byte, value uint64) error {
	if err := l.fault(string(key)); err != nil {
		return err
	}
	return l.LogStore.SetUint64(key, value)
}

func (l *faultLog) GetLog(index uint64, out *hraft.Log) error {
	if err := l.storage.read(index); err != nil {
		return err
	}
	return l.LogStore.GetLog(index, out)
}

// faults is a switch that makes the storage of one node fail.
type faults struct {
	what  atomic.Value  // string: which writes fail, "" none, "reads" all reads of entries
	node  atomic.Value  // string
	stall chan struct{} // what "stall" waits for
}

var errDisk = errors.New("no space left on device")

func (f *faults) configure(c *testCluster) {
	f.what.Store("")
	f.node.Store("")
	c.setting = func(n *testNode) {
		bolt, err := NewNodeStorage(NodeStorageOptions{Dir: n.logDir, FS: vfs.OS(), Entropy: entropy.System()})
		if err != nil {
			c.t.Fatal(err)
		}
		n.storage = &faultStorage{
			Storage: bolt,
			write: func(what string) error {
				if what == "entries" && f.node.Load() == n.name && f.what.Load() == "stall" {
					<-f.stall
				}
				if f.node.Load() == n.name && f.what.Load() == what {
					return errDisk
				}
				return nil
			},
			read: func(index uint64) error {
				if f.node.Load() == n.name && f.what.Load() == "reads" {
					return &boltlog.DamageError{Record: fmt.Sprint(index), Reason: "test"}
				}
				return nil
			},
		}
	}
}

func (f *faults) start(n *testNode, what string) {
	f.what.Store(what)
	f.node.Store(n.name)
}

// stopped waits until n's group has failed and said so once.
func stopped(t *testing.T, n *testNode) {
	t.Helper()
	testkit.Eventually(t, patience, func() bool { return len(n.failures()) == 1 }, "no failure reported")
	if err := n.groups[7].Status().Err; !errors.Is(err, api.ErrStoreFailed) {
		t.Fatalf("status: %v", err)
	}
	if _, _, err := n.groups[7].Propose([]byte("x=1")).Wait(within(t, patience)); !errors.Is(err, api.ErrUnavailable) {
		t.Fatalf("propose after the failure: %v", err)
	}
	if _, err := n.groups[7].ReadIndex(within(t, patience)); !errors.Is(err, api.ErrStoreFailed) {
		t.Fatalf("read after the failure: %v", err)
	}
}

func names(nodes []*testNode) []string {
	var out []string
	for _, n := range nodes {
		out = append(out, n.name)
	}
	return out
}

func TestALeaderWhoseLogFailsStopsAndTheOthersGoOn(t *testing.T) {
	var f faults
	c := newTestCluster(t, 3, f.configure) // R5
	c.write(7, "a", "1")
	leader := c.leader(7)
	f.start(leader, "entries")
	_, _, err := leader.groups[7].Propose([]byte("a=lost")).Wait(within(t, patience))
	if !errors.Is(err, api.ErrUnknownOutcome) {
		t.Fatalf("propose on a failing disk: %v", err)
	}
	stopped(t, leader)
	c.write(7, "a", "2", names(c.others(leader))...)
}

func TestAFollowerWhoseLogFailsStopsAndTheOthersGoOn(t *testing.T) {
	for _, what := range []string{"entries", "reads"} {
		t.Run(what, func(t *testing.T) {
			var f faults
			c := newTestCluster(t, 3, f.configure)
			c.write(7, "a", "1")
			leader := c.leader(7)
			follower := c.others(leader)[0]
			f.start(follower, what)
			c.write(7, "a", "2")
			stopped(t, follower)
			c.write(7, "a", "3")
		})
	}
}

func TestALeaderWhoseLogIsDamagedStopsAndTheOthersGoOn(t *testing.T) {
	var f faults
	c := newTestCluster(t, 3, f.configure)
	c.write(7, "a", "1")
	leader := c.leader(7)
	f.start(leader, "reads")
	leader.groups[7].Propose([]byte("a=2"))
	stopped(t, leader)
	c.write(7, "a", "3", names(c.others(leader))...)
}

// TestANodeThatCannotWriteItsTermOrVoteNeitherVotesNorPanics (R2, R5) makes the survivors of a
// leader fail to vote: no leader may come out of it.
func TestANodeThatCannotWriteItsTermOrVoteNeitherVotesNorPanics(t *testing.T) {
	for _, what := range []string{"CurrentTerm", keyLastVoteCand} {
		t.Run(what, func(t *testing.T) {
			var f faults
			c := newTestCluster(t, 3, f.configure)
			c.write(7, "a", "1")
			leader := c.leader(7)
			rest := c.others(leader)
			f.start(rest[0], what)
			leader.crash()
			stopped(t, rest[0])
			if rest[1].groups[7].IsReadyLeader() {
				t.Fatal("a leader was elected without a durable vote")
			}
			f.what.Store("")
			leader.start()
			c.write(7, "a", "2", leader.name, rest[1].name)
		})
	}
}

func TestAStateMachineThatFailsStopsItsGroup(t *testing.T) {
	c := newTestCluster(t, 3)
	c.write(7, "a", "1")
	leader := c.leader(7)
	m := leader.machines[7]
	m.mu.Lock()
	m.fail = errDisk
	m.mu.Unlock()
	if _, _, err := leader.groups[7].Propose([]byte("a=2")).Wait(within(t, patience)); !errors.Is(err, api.ErrUnknownOutcome) {
		t.Fatalf("propose: %v", err)
	}
	stopped(t, leader)
	c.write(7, "a", "3", names(c.others(leader))...)
}

// TestALeaderWhoseDiskStallsLosesItsOffice: its library goes on sending heartbeats, which must
// not leave.
func TestALeaderWhoseDiskStallsLosesItsOffice(t *testing.T) {
	var f faults
	c := newTestCluster(t, 3, f.configure)
	c.write(7, "a", "1")
	leader := c.leader(7)
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	t.Cleanup(free) // before the nodes are stopped
	f.stall = release
	f.start(leader, "stall")
	lost := leader.groups[7].Propose([]byte("a=2"))
	next := c.leader(7, names(c.others(leader))...)
	c.write(7, "a", "3", names(c.others(leader))...)
	if next == leader {
		t.Fatal("no new leader")
	}
	f.what.Store("")
	free()
	if _, _, err := lost.Wait(within(t, patience)); !errors.Is(err, api.ErrUnknownOutcome) {
		t.Fatalf("proposal on a stalled disk: %v", err)
	}
	c.converge(7, "a", "3")
}

func TestErrorsOfProposalsSayWhetherTheyMayHaveRun(t *testing.T) {
	c := newTestCluster(t, 3) // R7
	c.write(7, "a", "1")
	var leader *testNode
	wait := func(p *Proposal) error {
		_, _, err := p.Wait(within(t, patience))
		return err
	}
	testkit.Eventually(t, patience, func() bool { // on a busy machine a follower may know no leader for a moment
		leader = c.leader(7)
		var e *api.Error
		err := wait(c.others(leader)[0].groups[7].Propose([]byte("a=2")))
		return errors.As(err, &e) && e.Code == api.CodeNotLeader && e.Leader == leader.groups[7].Replica().Node && e.Shard == 7
	}, "a follower does not name the leader")
	if err := wait(leader.groups[7].Propose(make([]byte, api.MaxEntryBytes+1))); !errors.Is(err, api.ErrTooLarge) {
		t.Fatalf("too large: %v", err)
	}
	c.isolate(leader)
	lost := leader.groups[7].Propose([]byte("a=perhaps"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, _, err := leader.groups[7].Propose([]byte("b=perhaps")).Wait(ctx); !errors.Is(err, api.ErrUnknownOutcome) && !errors.Is(err, api.ErrExpired) {
		t.Fatalf("impatient: %v", err)
	}
	if err := wait(lost); !errors.Is(err, api.ErrUnknownOutcome) {
		t.Fatalf("leadership lost: %v", err)
	}
	if err := wait(leader.groups[7].Propose([]byte("a=2"))); !errors.Is(err, api.ErrNotLeader) {
		t.Fatalf("after stepping down: %v", err)
	}
	c.rejoin(leader)
	if err := leader.groups[7].Close(); err != nil {
		t.Fatal(err)
	}
	if err := wait(leader.groups[7].Propose([]byte("a=2"))); !errors.Is(err, api.ErrShuttingDown) {
		t.Fatalf("closed: %v", err)
	}
}

func TestAProposalOnItsWayEndsWhenTheGroupCloses(t *testing.T) {
	c := newTestCluster(t, 1)
	c.write(7, "a", "1")
	n := c.leader(7)
	blocked, release := make(chan struct{}), make(chan struct{})
	m := n.machines[7]
	m.mu.Lock()
	m.onApply = func([]Entry) {
		select {
		case <-blocked:
		default:
			close(blocked)
		}
		<-release
	}
	m.mu.Unlock()
	var proposals []*Proposal
	for i := range 100 {
		proposals = append(proposals, n.groups[7].Propose([]byte(fmt.Sprint("k=", i))))
	}
	<-blocked
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = n.groups[7].Close()
	}()
	<-n.groups[7].closing
	close(release)
	<-closed
	for i, p := range proposals {
		_, _, err := p.Wait(within(t, patience))
		if err != nil && !errors.Is(err, api.ErrUnknownOutcome) && !errors.Is(err, api.ErrShuttingDown) {
			t.Fatalf("proposal %d: %v", i, err)
		}
	}
}

// TestTheLibrarysFuturesCanBeAbandoned guards against a library in which abandonable stops working.
func TestTheLibrarysFuturesCanBeAbandoned(t *testing.T) {
	c := newTestCluster(t, 1)
	r := c.leader(7).groups[7].current.Load().raft
	for name, f := range map[string]any{
		"apply": r.Apply(nil, 0), "snapshot": r.Snapshot(), "transfer": r.LeadershipTransferToServer("x#1", "x#1"),
	} {
		if !abandonable(f, make(chan struct{})) {
			t.Errorf("%s: %T cannot be abandoned", name, f)
		}
	}
}

// refusal starts a node and expects to be told why it may not run.
func refusal(t *testing.T, n *testNode, part string) {
	t.Helper()
	err := n.tryStart()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Fatalf("start: %v, want something about %q", err, part)
	}
}

func TestAReplicaWhoseLogWasLostDoesNotRun(t *testing.T) {
	c := newTestCluster(t, 3)
	c.write(7, "a", "1")
	n := c.nodes["n1"]
	testkit.Eventually(t, patience, func() bool { return n.machines[7].get("a") == "1" })
	if err := n.groups[7].Snapshot(); err != nil {
		t.Fatal(err)
	}
	n.crash()
	n.logDir = t.TempDir()
	refusal(t, n, "lost or replaced")
}

// Before the first flush the state machine is as empty as that of a replica that never ran.
func TestAReplicaWhoseLogWasLostBeforeTheFirstFlushDoesNotRun(t *testing.T) {
	c := newTestCluster(t, 3)
	c.write(7, "a", "1")
	n := c.nodes["n1"]
	testkit.Eventually(t, patience, func() bool { return n.machines[7].get("a") == "1" })
	n.crash()
	n.logDir = t.TempDir()
	refusal(t, n, "ran on this disk before")
}

func TestAReplicaWhoseStateMachineWasLostDoesNotRun(t *testing.T) {
	c := newTestCluster(t, 3, func(c *testCluster) { c.timing.TrailingLogs = 1 })
	for i := range 20 {
		c.write(7, "a", fmt.Sprint(i))
	}
	n := c.leader(7)
	if err := n.groups[7].Snapshot(); err != nil {
		t.Fatal(err)
	}
	if first := n.groups[7].Status().FirstLog; first < 10 {
		t.Fatalf("the log still begins at %d", first)
	}
	n.crash()
	n.disk = vfs.NewMem()
	refusal(t, n, "lost data")
}

func TestAnInterruptedBootstrapIsFinished(t *testing.T) {
	dirs := map[string]string{}
	c := newTestCluster(t, 3, func(c *testCluster) {
		c.setting = func(n *testNode) {
			if dirs[n.name] != "" {
				return
			}
			dirs[n.name] = n.logDir
			s, err := NewNodeStorage(NodeStorageOptions{Dir: n.logDir, FS: vfs.OS(), Entropy: entropy.System()})
			if err != nil {
				t.Fatal(err)
			}
			l, err := s.Open(7, 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(l.SetUint64([]byte(keyCurrentTerm), 1), s.Close()); err != nil {
				t.Fatal(err)
			}
		}
	})
	c.write(7, "a", "1")
}

// TestAFollowerCommitsNothingThatItsLeaderDidNotSend (R10): a leader may say how far it has committed in
// a message that ends before that, and behind its end the follower may still hold what a leader
// of an earlier term left there.
func TestAFollowerCommitsNothingThatItsLeaderDidNotSend(t *testing.T) {
	c := newTestCluster(t, 3)
	c.write(7, "a", "1")
	c.converge(7, "a", "1")
	for _, n := range c.nodes {
		n.crash()
	}
	n := c.nodes["n1"]
	s, err := NewNodeStorage(NodeStorageOptions{Dir: n.logDir, FS: vfs.OS(), Entropy: entropy.System()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Open(7, 1)
	if err != nil {
		t.Fatal(err)
	}
	last, err := l.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	var e hraft.Log
	if err := l.GetLog(last, &e); err != nil {
		t.Fatal(err)
	}
	fill(t, l, e.Term, last+1, last+5) // of a leader that was cut off
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	n.start()
	group := n.groups[7]
	_, term := group.Leader()
	request := &hraft.AppendEntriesRequest{
		RPCHeader: hraft.RPCHeader{ProtocolVersion: 3}, Term: uint64(term) + 10,
		PrevLogEntry: last, PrevLogTerm: e.Term, LeaderCommitIndex: last + 3,
	}
	var response hraft.AppendEntriesResponse
	if err := c.sender("n2").AppendEntries("", hraft.ServerAddress(group.Replica().String()), request, &response); err != nil || !response.Success {
		t.Fatalf("%+v, %v", response, err)
	}
	if got := group.Status().Commit; uint64(got) != last {
		t.Fatalf("committed up to %d, the leader's message ended at %d", got, last)
	}
}

// sender is the transport of a replica on a node that does not run.
func (c *testCluster) sender(node string) *mux.Transport {
	at := c.net.At(node)
	pool := peers.New(peers.Options{Network: at, Resolver: at, Credentials: insecure.NewCredentials()})
	m := mux.New(mux.Options{Node: api.NodeID(node), Peers: pool, Clock: clock.Real{}, Logger: testkit.Logger(c.t)})
	tr := m.NewTransport(mux.TransportOptions{Group: 7, Local: node + "#1", HeartbeatTimeout: time.Second, ElectionTimeout: time.Second, Owner: alwaysLeads{}})
	c.t.Cleanup(func() {
		_ = tr.Close()
		m.Close()
		pool.Close()
	})
	return tr
}

// alwaysLeads is the owner of a transport that only sends.
type alwaysLeads struct{ mux.Owner }

func (alwaysLeads) Stalled() bool           { return false }
func (alwaysLeads) Leads(uint64) bool       { return true }
func (alwaysLeads) Answered(string, uint64) {}
