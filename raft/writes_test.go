package raft

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/vfs"
)

// earlyRecorder notes what the logs of a node store early.
type earlyRecorder struct {
	Storage
	entries atomic.Int64
	other   atomic.Int64 // that are not commands
}

type recordedLog struct {
	EarlyLogStore
	recorder *earlyRecorder
}

func (r *earlyRecorder) Open(g GroupID, incarnation uint64) (LogStore, error) {
	l, err := r.Storage.Open(g, incarnation)
	if err != nil {
		return nil, err
	}
	return &recordedLog{l.(EarlyLogStore), r}, nil
}

func (l *recordedLog) StoreEarly(entries []*hraft.Log) (bool, error) {
	for _, e := range entries {
		l.recorder.entries.Add(1)
		if e.Type != hraft.LogCommand {
			l.recorder.other.Add(1)
		}
	}
	return l.EarlyLogStore.StoreEarly(entries)
}

// TestOnlyCommandsOfSeveralVotersAreEarly (R14): a leader that is the only voter commits at once what StoreLogs
// has returned for, so it waits for every sync; the others wait for what is not a command.
func TestOnlyCommandsOfSeveralVotersAreEarly(t *testing.T) {
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			var recorders []*earlyRecorder
			c := newTestCluster(t, size, func(c *testCluster) {
				c.setting = func(n *testNode) {
					inner, err := NewNodeStorage(NodeStorageOptions{Dir: n.logDir, FS: vfs.OS(), Entropy: entropy.System()})
					if err != nil {
						t.Fatal(err)
					}
					r := &earlyRecorder{Storage: inner}
					recorders = append(recorders, r)
					n.storage = r
				}
			})
			for range 5 {
				c.write(7, "a", "1")
			}
			c.converge(7, "a", "1")
			for _, r := range recorders {
				switch early := r.entries.Load(); {
				case r.other.Load() > 0:
					t.Errorf("%d voters: %d entries that are no commands were early", size, r.other.Load())
				case size == 1 && early > 0:
					t.Errorf("the only voter stored %d entries early", early)
				case size > 1 && early == 0:
					t.Errorf("%d voters: nothing was early, so the test shows nothing", size)
				}
			}
		})
	}
}

// diskOf is the disk of one node, whose syncs of the shared log a test can stop or fail.
type diskOf struct {
	node  atomic.Value // string
	fail  atomic.Bool
	stall chan struct{} // nil: none
}

func (d *diskOf) configure(c *testCluster) {
	d.node.Store("")
	c.setting = func(n *testNode) {
		disk := vfs.NewFault(vfs.OS(), vfs.InjectorFunc(func(op vfs.Op, name string) error {
			if op != vfs.OpSync || d.node.Load() != n.name || !strings.HasSuffix(name, ".segment") {
				return nil
			}
			if d.fail.Load() {
				return errDisk
			}
			if d.stall != nil {
				<-d.stall
			}
			return nil
		}))
		s, err := NewNodeStorage(NodeStorageOptions{Dir: n.logDir, FS: disk, Entropy: entropy.System()})
		if err != nil {
			c.t.Fatal(err)
		}
		n.storage = s
	}
}

// TestANodeWhoseSyncFailsAfterItStoredStops (R5): the library was told that entries are stored; when their sync
// fails, the group stops and nobody hears that they are.
func TestANodeWhoseSyncFailsAfterItStoredStops(t *testing.T) {
	var d diskOf
	c := newTestCluster(t, 3, d.configure)
	c.write(7, "a", "1")
	leader := c.leader(7)
	d.fail.Store(true)
	d.node.Store(leader.name)
	if _, _, err := leader.groups[7].Propose([]byte("a=2")).Wait(within(t, patience)); !errors.Is(err, api.ErrUnknownOutcome) {
		t.Fatalf("a proposal whose sync failed: %v", err)
	}
	stopped(t, leader)
	c.write(7, "a", "3", names(c.others(leader))...)
}

// TestALeaderWhoseSyncsStallLosesItsOffice (R14): nobody waits for the entries, and still it is noticed that
// they are not written.
func TestALeaderWhoseSyncsStallLosesItsOffice(t *testing.T) {
	d := diskOf{stall: make(chan struct{})}
	c := newTestCluster(t, 3, d.configure)
	c.write(7, "a", "1")
	leader := c.leader(7)
	free := sync.OnceFunc(func() { close(d.stall) })
	t.Cleanup(free) // before the nodes are stopped
	d.node.Store(leader.name)
	lost := leader.groups[7].Propose([]byte("a=2"))
	if next := c.leader(7, names(c.others(leader))...); next == leader {
		t.Fatal("no new leader")
	}
	c.write(7, "a", "3", names(c.others(leader))...)
	free()
	if _, _, err := lost.Wait(within(t, patience)); !errors.Is(err, api.ErrUnknownOutcome) {
		t.Fatalf("proposal on a stalled disk: %v", err)
	}
	c.converge(7, "a", "3")
}

// TestAGroupThatIsOpenedLateIsNotStalled: the first writes of a group begin when it is opened, not when its host was.
func TestAGroupThatIsOpenedLateIsNotStalled(t *testing.T) {
	c := newTestCluster(t, 1)
	n := c.nodes["n1"]
	const late = 1 << 20
	n.host.looks.Add(late)
	if err := n.startGroup(8); err != nil {
		t.Fatal(err)
	}
	g, ok := n.host.Group(8)
	if !ok {
		t.Fatal("the group is not open")
	}
	if looks := g.log.writes.looks.Load(); looks < late {
		t.Errorf("writes of the new group begin at look %d of %d", looks, n.host.looks.Load())
	}
}
