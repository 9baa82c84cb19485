package meta

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/meta/pledge"
	"github.com/lightning-db/lightning/raft"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeGroup applies proposals at once while it leads.
type fakeGroup struct {
	mu      sync.Mutex
	machine *Machine
	leads   bool
	failing int // proposals that fail, or are applied without an answer
	lost    bool
}

func (g *fakeGroup) Propose(_ context.Context, data []byte) (any, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.leads {
		return nil, &api.Error{Code: api.CodeNotLeader, Leader: "elsewhere"}
	}
	if g.failing > 0 && !g.lost {
		g.failing--
		return nil, api.ErrUnavailable
	}
	results, err := g.machine.Apply([]raft.Entry{{Index: g.machine.now.Load().position.Index + 1, Term: 1, Data: data}})
	if err != nil {
		return nil, err
	}
	if g.failing > 0 {
		g.failing--
		return nil, api.ErrUnknownOutcome
	}
	return results[0], nil
}

func (g *fakeGroup) Leader() (api.NodeID, api.Term) { return "a", 1 }

func (g *fakeGroup) IsReadyLeader() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.leads
}

func (g *fakeGroup) lead(leads bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leads = leads
}

func (g *fakeGroup) Close() error { return nil }

var founders = pledge.Cluster{ID: "C", Founders: []api.NodeID{"a", "b", "c"}, Shards: 3}

func startFake(t *testing.T, g *fakeGroup) *Meta {
	t.Helper()
	g.machine = openMachine(t, vfs.NewMem())
	m := newMeta(Options{Cluster: founders, Logger: slog.New(slog.DiscardHandler)}, g.machine)
	m.start(g)
	return m
}

// TestTheLeaderMakesTheFirstMapOnceAllFoundersAreThere includes proposals that fail and ones whose
// answer is lost.
func TestTheLeaderMakesTheFirstMapOnceAllFoundersAreThere(t *testing.T) {
	for name, lost := range map[string]bool{"refused": false, "answer lost": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &fakeGroup{failing: 3, lost: lost}
				m := startFake(t, g)
				<-time.After(time.Minute)
				if m.Map() != nil {
					t.Fatal("a follower made a map")
				}
				g.lead(true)
				m.onLeader(1)
				if _, err := m.Wait(t.Context(), 0); err != nil {
					t.Fatal(err)
				}
				for _, id := range []string{"a", "b"} {
					for registerAt(t, m, node(id, "name-"+id)) != nil {
					}
				}
				<-time.After(time.Hour)
				if len(m.Map().Shards) > 0 {
					t.Fatal("shards before every founder has registered")
				}
				if err := registerAt(t, m, node("c", "name-c")); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				<-time.After(time.Second)
				if shards := m.Map().Shards; len(shards) != 3 || len(shards[0].Replicas) != 3 {
					t.Errorf("%v", shards)
				}
				if err := m.Close(); err != nil {
					t.Error(err)
				}
				if m.machine.Durable().Index != m.machine.now.Load().position.Index {
					t.Error("Close did not write what was applied")
				}
			})
		})
	}
}

func TestRefusalsAreTyped(t *testing.T) {
	g := &fakeGroup{leads: true}
	m := startFake(t, g)
	defer m.Close()
	if _, err := m.Wait(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := registerAt(t, m, node("a", "one")); err != nil {
		t.Fatal(err)
	}
	var known *KnownNameError
	err := registerAt(t, m, node("b", "one"))
	if !errors.As(err, &known) || known.Name != "one" || known.OldID != "a" || !strings.Contains(err.Error(), "--name") {
		t.Errorf("%v", err)
	}
	if err := registerAt(t, m, node("b", "")); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("%v", err)
	}
	var wrongCluster *WrongClusterError
	r := apply(t, m.machine, registerCommand("D", node("x", "x")))
	if err := registration(r, "D", node("x", "x")); !errors.As(err, &wrongCluster) || wrongCluster.Cluster != "D" {
		t.Errorf("%v", err)
	}
	g.lead(false)
	var notLeader *api.Error
	if err := registerAt(t, m, node("c", "three")); !errors.As(err, &notLeader) || notLeader.Leader != "elsewhere" {
		t.Errorf("%v", err)
	}
}

func TestFoundersHoldTheMetaReplicas(t *testing.T) {
	count := 0
	for _, n := range founders.Founders {
		if HasReplica(founders, n) {
			count++
		}
	}
	if count != 3 || HasReplica(founders, "joined later") {
		t.Errorf("%d founders hold a replica", count)
	}
}

func registerAt(t *testing.T, m *Meta, n *pb.Node) error {
	r, err := m.register(t.Context(), m.cluster.ID, n)
	if err != nil {
		return err
	}
	return registration(r, m.cluster.ID, n)
}
