package mux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/testkit/fakenet"
	"github.com/lightning-db/lightning/raft/wire"
)

// snapshotOwner is a group that sends and receives snapshots, whose library switches at once.
type snapshotOwner struct {
	testOwner
	counts *snapshotCounts
	nodes  map[string]*snapshotCounts // of all nodes
	data   func() io.Reader           // what is sent; nil: some bytes
	hold   chan struct{}              // a staged snapshot waits for it; nil: it does not
	got    atomic.Int64               // bytes received
	told   atomic.Uint64              // what the receiver has applied
	bump   atomic.Int64               // so many deliveries find that a newer term has begun
	ended  atomic.Pointer[error]
}

// snapshotCounts are those of one node.
type snapshotCounts struct {
	sending, maxSending, prepared      atomic.Int64
	receiving, maxReceiving, discarded atomic.Int64
}

func peak(now, most *atomic.Int64) {
	n := now.Add(1)
	for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
	}
}

const testSnapshotBytes = 3<<20 + 17

func (o *snapshotOwner) PrepareSnapshot(r *hraft.InstallSnapshotRequest, data io.Reader, applied uint64) (needed bool, err error) {
	o.told.Store(applied)
	if o.applied.Load() != 0 && applied >= o.applied.Load() {
		r.LastLogIndex = applied
		return false, nil
	}
	o.counts.prepared.Add(1)
	r.LastLogIndex, r.Size = 9, testSnapshotBytes
	return true, nil
}

func (o *snapshotOwner) StageSnapshot(r *hraft.InstallSnapshotRequest, data io.Reader) (func(), error) {
	peak(&o.counts.receiving, &o.counts.maxReceiving)
	defer o.counts.receiving.Add(-1)
	// The sender has its turn for longer than this, but when that ended cannot be told from outside.
	sender, _, _ := strings.Cut(string(r.Addr), "#")
	peak(&o.nodes[sender].sending, &o.nodes[sender].maxSending)
	defer o.nodes[sender].sending.Add(-1)
	if o.hold != nil {
		<-o.hold
	}
	n, err := io.Copy(io.Discard, data)
	o.got.Store(n)
	o.ended.Store(&err)
	if err == nil && n != testSnapshotBytes {
		err = fmt.Errorf("%d bytes arrived", n)
	}
	return func() { o.counts.discarded.Add(1) }, err
}

// snapshotNodes are muxes with the same groups, whose libraries answer.
type snapshotNodes struct {
	muxes  map[string]*Mux
	counts map[string]*snapshotCounts
	owners map[string][]*snapshotOwner
	groups map[string][]*Transport
}

func newSnapshotNodes(t *testing.T, groups int, names ...string) *snapshotNodes {
	n := &snapshotNodes{
		muxes: make(map[string]*Mux), counts: make(map[string]*snapshotCounts), owners: make(map[string][]*snapshotOwner),
		groups: make(map[string][]*Transport),
	}
	network := fakenet.New()
	for _, name := range names {
		n.counts[name] = &snapshotCounts{}
	}
	for _, name := range names {
		m := bareMux(t, network, name)
		n.muxes[name] = m
		for g := range groups {
			o := &snapshotOwner{counts: n.counts[name], nodes: n.counts}
			tr := newTransport(m, uint64(g), name+"#1", o)
			m.Attach(tr)
			n.owners[name], n.groups[name] = append(n.owners[name], o), append(n.groups[name], tr)
			answered := make(chan struct{})
			go func() {
				defer close(answered)
				for {
					select {
					case rpc := <-tr.Consumer():
						// As the library does: a term that is over is refused.
						term := o.term.Load()
						install, isInstall := rpc.Command.(*hraft.InstallSnapshotRequest)
						if !isInstall { // the heartbeat that follows one (RM13)
							rpc.Respond(&hraft.AppendEntriesResponse{Success: true, Term: term}, nil)
							continue
						}
						ok := install.Term >= term
						if !ok || o.bump.Load() > 0 {
							if o.bump.Add(-1) >= 0 {
								ok = false
								term = o.term.Add(1)
							}
						}
						rpc.Respond(&hraft.InstallSnapshotResponse{Success: ok, Term: term}, nil)
					case <-tr.ctx.Done():
						return
					}
				}
			}()
			t.Cleanup(func() {
				_ = tr.Close()
				<-answered
			})
		}
	}
	return n
}

// send sends the snapshot of a group and returns how that ended.
func (n *snapshotNodes) send(from string, group int, to string, term uint64) error {
	o := n.owners[from][group]
	data := io.Reader(bytes.NewReader(make([]byte, testSnapshotBytes)))
	if o.data != nil {
		data = o.data()
	}
	var resp hraft.InstallSnapshotResponse
	err := n.groups[from][group].InstallSnapshot("", hraft.ServerAddress(to+"#1"),
		&hraft.InstallSnapshotRequest{RPCHeader: hraft.RPCHeader{ProtocolVersion: 3}, SnapshotVersion: 1, Term: term}, &resp, data)
	if err == nil && !resp.Success {
		err = errors.New("refused")
	}
	return err
}

// pass lets time pass in a bubble, until everybody waits again.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// TestSnapshotsTakeTurns: no more than two are sent and installed at once, none is made before it can be sent,
// and all arrive.
func TestSnapshotsTakeTurns(t *testing.T) {
	const groups = 7
	synctest.Test(t, func(t *testing.T) {
		n := newSnapshotNodes(t, groups, "a", "b")
		hold := make(chan struct{})
		var sending sync.WaitGroup
		for g := range groups {
			n.owners["b"][g].hold = hold
			sending.Go(func() {
				if err := n.send("a", g, "b", 2); err != nil {
					t.Error(err)
				}
			})
		}
		for left := groups; left > 0; left-- {
			pass(time.Second) // for what the pace lets through
			if made, want := n.counts["a"].prepared.Load(), int64(min(groups-left+maxSends, groups)); made != want {
				t.Errorf("%d snapshots are made when %d are through, want %d", made, groups-left, want)
			}
			hold <- struct{}{}
		}
		sending.Wait()
		if s, r := n.counts["a"].maxSending.Load(), n.counts["b"].maxReceiving.Load(); s != maxSends || r != maxInstalls {
			t.Errorf("%d were sent and %d received at once", s, r)
		}
	})
}

// TestNodesThatSendToEachOtherGetOn: each leads a third of the groups, and has more to send than it has turns, to
// nodes that do the same.
func TestNodesThatSendToEachOtherGetOn(t *testing.T) {
	const groups = 15
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a", "b", "c"}
		n := newSnapshotNodes(t, groups, names...)
		var sending sync.WaitGroup
		for g := range groups {
			for _, to := range []string{names[(g+1)%3], names[(g+2)%3]} {
				sending.Go(func() {
					if err := n.send(names[g%3], g, to, 2); err != nil {
						t.Error(err)
					}
				})
			}
		}
		sending.Wait()
		for _, name := range names {
			if s, r := n.counts[name].maxSending.Load(), n.counts[name].maxReceiving.Load(); s > maxSends || r > maxInstalls {
				t.Errorf("%s sent %d and received %d at once", name, s, r)
			}
		}
	})
}

// TestABusyReceiverKeepsNobodyFromSendingToOthers for longer than a turn.
func TestABusyReceiverKeepsNobodyFromSendingToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newSnapshotNodes(t, 6, "a", "b", "c")
		hold := make(chan struct{})
		var sending sync.WaitGroup
		send := func(from string, group int, to string) {
			sending.Go(func() {
				if err := n.send(from, group, to, 2); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		for g := range maxInstalls { // c fills b's turns
			n.owners["b"][g].hold = hold
			send("c", g, "b")
		}
		send("a", 2, "b")
		send("a", 3, "b")
		began := time.Now()
		if err := n.send("a", 4, "c", 2); err != nil {
			t.Error(err)
		}
		if waited := time.Since(began); waited > snapshotTurn+time.Second {
			t.Errorf("a node that is free had to wait for %v", waited)
		}
		if made := n.counts["a"].prepared.Load(); made != 1 {
			t.Errorf("%d snapshots were made, one could be sent", made)
		}
		close(hold)
		sending.Wait()
	})
}

// TestASnapshotThatGetsNoFurtherEnds at both ends, and gives its turns back.
func TestASnapshotThatGetsNoFurtherEnds(t *testing.T) {
	t.Run("the sender's disk", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newSnapshotNodes(t, 1, "a", "b")
			stuck := make(chan struct{})
			n.owners["a"][0].data = func() io.Reader { return readerFunc(func([]byte) (int, error) { <-stuck; return 0, io.EOF }) }
			ended := make(chan error, 1)
			go func() { ended <- n.send("a", 0, "b", 2) }()
			pass(snapshotStall + time.Second)
			if err := n.owners["b"][0].ended.Load(); err == nil || *err == nil {
				t.Fatal("the receiver waits on")
			}
			n.free(t, "b")
			close(stuck)
			if err := <-ended; err == nil {
				t.Fatal("it succeeded")
			}
			n.free(t, "a")
		})
	})
	t.Run("the receiver's disk", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newSnapshotNodes(t, 1, "a", "b")
			stuck := make(chan struct{})
			n.owners["b"][0].hold = stuck
			if err := n.send("a", 0, "b", 2); !errors.Is(err, errSnapshotStalled) {
				t.Fatalf("ended with %v", err)
			}
			n.free(t, "a")
			close(stuck)
			synctest.Wait()
			n.free(t, "b")
		})
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// free fails unless all turns of a node are free.
func (n *snapshotNodes) free(t *testing.T, node string) {
	t.Helper()
	synctest.Wait()
	m := n.muxes[node]
	if !m.sends.TryAcquire(maxSends) || !m.installs.TryAcquire(maxInstalls) {
		t.Fatalf("a turn of %s is taken", node)
	}
	m.sends.Release(maxSends)
	m.installs.Release(maxInstalls)
}

// TestASnapshotArrivesThoughItsLeaderIsDeposed (RM9): leaders may change more often than a large one travels.
func TestASnapshotArrivesThoughItsLeaderIsDeposed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newSnapshotNodes(t, 1, "a", "b", "c")
		rest := make(chan struct{})
		n.owners["a"][0].data = func() io.Reader {
			return io.MultiReader(bytes.NewReader(make([]byte, 1<<20)),
				readerFunc(func([]byte) (int, error) { <-rest; return 0, io.EOF }), bytes.NewReader(make([]byte, testSnapshotBytes-1<<20)))
		}
		ended := make(chan error, 1)
		go func() { ended <- n.send("a", 0, "b", 2) }()
		pass(time.Second)
		n.owners["a"][0].leads.Store(3)
		n.groups["a"][0].EndEras()
		n.owners["b"][0].term.Store(3)
		n.owners["b"][0].bump.Store(2) // two more terms begin while it is delivered
		pass(time.Second)
		// The next leader does not send another one meanwhile.
		if err := n.send("c", 0, "b", 3); err == nil || !strings.Contains(err.Error(), errInstalling.Error()) {
			t.Errorf("the next leader's: %v", err)
		}
		close(rest)
		if err := <-ended; err != nil {
			t.Errorf("the deposed leader's: %v", err)
		}
		if got := n.owners["b"][0].got.Load(); got != testSnapshotBytes {
			t.Errorf("%d bytes arrived", got)
		}
		n.free(t, "b")
	})
}

// TestAReceiverThatCanGoOnWithEntriesGetsNoSnapshot, and tells what it has applied only to a leader whose log must have
// the same: another might count a conflicting entry of its own as held by two (RM9).
func TestAReceiverThatCanGoOnWithEntriesGetsNoSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newSnapshotNodes(t, 1, "a", "b")
		n.owners["a"][0].applied.Store(50)
		for _, c := range []struct {
			term, applied uint64 // of the receiver
			told          uint64
			made          int64
		}{{2, 49, 49, 1}, {2, 50, 50, 1}, {1, 60, 60, 1}, {3, 60, 0, 2}} {
			n.owners["b"][0].term.Store(c.term)
			n.owners["b"][0].applied.Store(c.applied)
			if err := n.send("a", 0, "b", 2); err != nil {
				t.Error(err)
			}
			synctest.Wait() // the receiver of what is not needed notices by itself that it does not come
			if told := n.owners["a"][0].told.Load(); told != c.told {
				t.Errorf("in term %d, with %d applied, the leader of term 2 was told of %d", c.term, c.applied, told)
			}
			if made := n.counts["a"].prepared.Load(); made != c.made {
				t.Errorf("in term %d, with %d applied: %d snapshots were made, want %d", c.term, c.applied, made, c.made)
			}
		}
	})
}

// TestASnapshotForANodeThatIsAwayIsNotMade until it is back; a leadership that ends ends the waiting.
func TestASnapshotForANodeThatIsAwayIsNotMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newSnapshotNodes(t, 1, "a")
		ended := make(chan error, 1)
		go func() { ended <- n.send("a", 0, "away", 2) }()
		pass(time.Hour)
		if n.counts["a"].prepared.Load() != 0 {
			t.Fatal("it was made")
		}
		n.free(t, "a")
		n.owners["a"][0].leads.Store(3)
		n.groups["a"][0].EndEras()
		if err := <-ended; err == nil {
			t.Fatal("it succeeded")
		}
	})
}

// TestSnapshotsKeepToTheirRate, all of a node together.
func TestSnapshotsKeepToTheirRate(t *testing.T) {
	const groups, rate = 2, 1 << 20
	synctest.Test(t, func(t *testing.T) {
		n := newSnapshotNodes(t, groups, "a", "b")
		for _, m := range n.muxes {
			m.limitSnapshots(rate)
		}
		began := time.Now()
		var sending sync.WaitGroup
		for g := range groups {
			sending.Go(func() {
				if err := n.send("a", g, "b", 2); err != nil {
					t.Error(err)
				}
			})
		}
		sending.Wait()
		least := time.Duration(groups*testSnapshotBytes-2<<20) * time.Second / rate
		if took := time.Since(began); took < least || took > least+5*time.Second {
			t.Errorf("took %v, the rate allows %v", took, least)
		}
	})
}

func TestAPaceSharesItsRateInTheOrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(1000)
		began := time.Now()
		order := make(chan int, 5)
		var waiting sync.WaitGroup
		for i := range cap(order) {
			waiting.Go(func() {
				if err := p.wait(t.Context(), 500); err != nil {
					t.Error(err)
				}
				order <- i
				if at := time.Since(began); at != time.Duration(i)*500*time.Millisecond {
					t.Errorf("turn %d came after %v", i, at)
				}
			})
			synctest.Wait()
		}
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(wire.ErrMalformed)
		if err := p.wait(ended, 1); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("who does not wait any more is told %v", err)
		}
		waiting.Wait()
		for want := range cap(order) {
			if got := <-order; got != want {
				t.Errorf("in place %d came %d", want, got)
			}
		}
	})
}
