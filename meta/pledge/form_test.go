package pledge

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/network"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/vfs"
)

// directCaller calls stores in the same process.
type directCaller struct {
	mu     sync.Mutex
	stores map[api.NodeID]*Store
}

func (c *directCaller) store(node api.NodeID) (*Store, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.stores[node]; ok {
		return s, nil
	}
	return nil, errors.New("no such node")
}

func (c *directCaller) add(node api.NodeID, s *Store) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stores == nil {
		c.stores = map[api.NodeID]*Store{}
	}
	c.stores[node] = s
}

func (c *directCaller) Show(_ context.Context, node api.NodeID) (State, error) {
	s, err := c.store(node)
	if err != nil {
		return State{}, err
	}
	return s.show()
}

func (c *directCaller) Pledge(_ context.Context, node api.NodeID, p Pledge) (State, error) {
	s, err := c.store(node)
	if err != nil {
		return State{}, err
	}
	return s.Pledge(p)
}

func (c *directCaller) members() []Seen {
	c.mu.Lock()
	defer c.mu.Unlock()
	var seen []Seen
	for node, s := range c.stores {
		seen = append(seen, Seen{Node: node, Expect: s.expect, Joined: s.State().Cluster != nil})
	}
	return seen
}

func (c *directCaller) options(s *Store) FormOptions {
	return FormOptions{Store: s, Members: c.members, Caller: c, Entropy: entropy.System(), Logger: slog.New(slog.DiscardHandler)}
}

type formResult struct {
	cluster Cluster
	err     error
}

func formAsync(ctx context.Context, o FormOptions) <-chan formResult {
	done := make(chan formResult, 1)
	go func() {
		c, err := Form(ctx, o)
		done <- formResult{c, err}
	}()
	return done
}

func TestANodeAloneFormsAtOnceAndKeepsIt(t *testing.T) {
	disk := vfs.NewMem()
	var caller directCaller
	o := caller.options(openStore(t, disk, "a", 1))
	o.Shards = 4
	c, err := Form(context.Background(), o)
	if err != nil || c.ID == "" || !slices.Equal(c.Founders, []api.NodeID{"a"}) || c.Shards != 4 {
		t.Fatalf("%+v, %v", c, err)
	}
	again, err := Form(context.Background(), caller.options(openStore(t, disk.CrashClone(vfs.CrashOptions{}), "a", 0)))
	if err != nil || again.ID != c.ID || again.Shards != 4 {
		t.Errorf("after a restart: %+v, %v (B4)", again, err)
	}
}

func TestThreeFormAndAFourthJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		var caller directCaller
		var waiting []<-chan formResult
		var progress []string
		for _, node := range []api.NodeID{"c", "a", "b"} {
			s := openStore(t, vfs.NewMem(), node, 3)
			caller.add(node, s)
			o := caller.options(s)
			if node == "c" {
				o.Progress = func(reason string) { progress = append(progress, reason) }
			}
			waiting = append(waiting, formAsync(ctx, o))
			<-time.After(time.Second) // synctest's clock
		}
		var id string
		for _, w := range waiting {
			r := <-w
			if r.err != nil || id != "" && r.cluster.ID != id || r.cluster.Shards != 3 || !slices.Equal(r.cluster.Founders, []api.NodeID{"a", "b", "c"}) {
				t.Fatalf("%+v", r)
			}
			id = r.cluster.ID
		}
		if len(progress) == 0 || !strings.HasPrefix(progress[0], "1 of 3 nodes seen") {
			t.Errorf("progress %q", progress)
		}
		for node, expect := range map[api.NodeID]int{"d": 3, "e": 0} {
			s := openStore(t, vfs.NewMem(), node, expect)
			caller.add(node, s)
			c, err := Form(ctx, caller.options(s))
			if err != nil || c.ID != id || c.FoundedBy(node) {
				t.Errorf("%s: %+v, %v", node, c, err)
			}
		}
	})
}

func TestAFounderThatLostItsPledgeIsToldSo(t *testing.T) {
	var caller directCaller
	founder := openStore(t, vfs.NewMem(), "b", 2)
	caller.add("b", founder)
	if _, err := founder.Pledge(ab("one")); err != nil {
		t.Fatal(err)
	}
	if _, err := founder.form(); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, vfs.NewMem(), "a", 2)
	caller.add("a", s)
	_, err := Form(context.Background(), caller.options(s))
	var lost *LostPledgeError
	if !errors.As(err, &lost) || lost.Cluster != "one" || !strings.Contains(err.Error(), "--name") {
		t.Errorf("%v", err)
	}
}

func TestFormEndsWithItsContextAndSaysWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var caller directCaller
		s := openStore(t, vfs.NewMem(), "a", 3)
		caller.add("a", s)
		_, err := Form(ctx, caller.options(s))
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 of 3 nodes seen") {
			t.Errorf("%v", err)
		}
	})
}

func TestFormStopsWhenTheDiskFails(t *testing.T) {
	var caller directCaller
	s := openStore(t, vfs.NewMem(), "a", 1)
	broken := errors.New("input/output error")
	s.fsys = vfs.NewFault(s.fsys, vfs.InjectorFunc(func(o vfs.Op, _ string) error {
		if o == vfs.OpSync {
			return broken
		}
		return nil
	}))
	if _, err := Form(context.Background(), caller.options(s)); !errors.Is(err, broken) || !errors.Is(err, api.ErrStoreFailed) {
		t.Errorf("%v", err)
	}
}

// addresses is a resolver that is filled as servers start.
type addresses struct {
	mu sync.Mutex
	m  map[api.NodeID]string
}

func (a *addresses) Address(node api.NodeID) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.m[node]
	return s, ok
}

// TestThreeFormOverGRPC uses the service, the caller and real sockets.
func TestThreeFormOverGRPC(t *testing.T) {
	where := &addresses{m: map[api.NodeID]string{}}
	nodes := []api.NodeID{"a", "b", "c"}
	var waiting []<-chan formResult
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, node := range nodes {
		s := openStore(t, vfs.NewMem(), node, 3)
		server := grpc.NewServer()
		NewService(s).RegisterServices(server)
		l, err := network.TCP{}.Listen(ctx, "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() { defer close(served); _ = server.Serve(l) }()
		pool := peers.New(peers.Options{Network: network.TCP{}, Resolver: where, Credentials: insecure.NewCredentials()})
		t.Cleanup(func() { pool.Close(); server.Stop(); <-served })
		where.mu.Lock()
		where.m[node] = l.Addr().String()
		where.mu.Unlock()
		waiting = append(waiting, formAsync(ctx, FormOptions{
			Store: s, Caller: NewCaller(pool), Entropy: entropy.System(), Logger: slog.New(slog.DiscardHandler),
			Members: func() []Seen {
				return []Seen{{Node: "a", Expect: 3}, {Node: "b", Expect: 3}, {Node: "c", Expect: 3}}
			},
		}))
	}
	var id string
	for _, w := range waiting {
		r := <-w
		if r.err != nil || id != "" && r.cluster.ID != id {
			t.Fatalf("%+v", r)
		}
		id = r.cluster.ID
	}
}

// TestAnotherNodeAtTheAddressIsNotTakenForTheOneAsked covers an address that passed on.
func TestAnotherNodeAtTheAddressIsNotTakenForTheOneAsked(t *testing.T) {
	if _, err := answer("a")(State{Node: "b"}.message(), nil); err == nil || !strings.Contains(err.Error(), "b answered") {
		t.Errorf("%v", err)
	}
	if _, err := answer("a")(State{Node: "a", Cluster: &Cluster{}}.message(), nil); err == nil {
		t.Error("a cluster without an id is believed")
	}
}
