package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/peers"
)

func TestEveryNodeServesEveryKey(t *testing.T) {
	c := newCluster(t, 3, nil)
	for i, node := range nodeNames {
		for k := range 10 {
			key, value := fmt.Sprintf("key-%d", k), fmt.Sprintf("value-%d-%d", k, i)
			if _, err := c.servers[node].Apply(t.Context(), put(key, value)); err != nil {
				t.Fatalf("put on %s: %v", node, err)
			}
			for _, reader := range nodeNames {
				item, err := c.servers[reader].Get(t.Context(), 0, []byte(key))
				if err != nil || string(item.Value) != value {
					t.Fatalf("get on %s: %q, %v", reader, item.Value, err)
				}
			}
		}
	}
}

func TestNodesWithoutAReplicaServeToo(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.hosts[1] = []api.NodeID{"a", "b"}
	c.publish(2)
	c.groups[1].set(func(g *group) { g.leader, g.hints = "b", false })
	if _, err := c.servers["c"].Apply(t.Context(), put("k", "v")); err != nil {
		t.Fatal(err)
	}
	if item, err := c.servers["c"].Get(t.Context(), 0, []byte("k")); err != nil || string(item.Value) != "v" {
		t.Fatal(item, err)
	}
}

func TestRequestsFollowTheLeader(t *testing.T) {
	for _, hints := range []bool{true, false} {
		c := newCluster(t, 1, nil)
		for round := range 6 {
			c.groups[1].set(func(g *group) { g.leader, g.hints = nodeNames[round%3], hints; g.term++ })
			for _, node := range nodeNames {
				if _, err := c.servers[node].Apply(t.Context(), increment("n")); err != nil {
					t.Fatalf("hints %v, on %s: %v", hints, node, err)
				}
				if leader, _ := c.routers[node].Leader(1); leader != nodeNames[round%3] {
					t.Fatalf("the cache of %s says %s", node, leader)
				}
			}
		}
		if item := c.groups[1].data["n"]; string(item.Value) != "18" {
			t.Fatalf("18 increments made %s", item.Value)
		}
	}
}

// V1: a reply that is lost does not make a write run twice, here or forwarded.
func TestALostReplyIsRetriedUnderTheSameRequestID(t *testing.T) {
	for _, code := range []api.Code{api.CodeUnknownOutcome, api.CodeStoreFailed} {
		for _, node := range []api.NodeID{"a", "b"} { // a leads
			c := newCluster(t, 1, nil)
			lost := 2
			c.groups[1].after = func() error {
				if lost--; lost >= 0 {
					return api.Errorf(code, "lost")
				}
				return nil
			}
			res, err := c.servers[node].Apply(t.Context(), increment("n"))
			if err != nil || res.Ops[0].Number != 1 {
				t.Fatalf("%s on %s: %+v, %v", code, node, res, err)
			}
			ids := c.groups[1].requests
			if len(ids) != 3 || ids[0].IsZero() || ids[1] != ids[0] || ids[2] != ids[0] {
				t.Fatalf("%s on %s: requests %v", code, node, ids)
			}
		}
	}
}

func TestAClientsRequestIDIsPassedThrough(t *testing.T) {
	c := newCluster(t, 1, nil)
	id := api.RequestID{Session: api.SessionID{CreatedMillis: 7, Random: 9}, Sequence: 3, Floor: 2}
	b := increment("n")
	b.Request = id
	for _, node := range nodeNames {
		if res, err := c.servers[node].Apply(t.Context(), b); err != nil || res.Ops[0].Number != 1 {
			t.Fatal(res, err)
		}
	}
	if ids := c.groups[1].requests; !slices.Equal(ids, []api.RequestID{id, id, id}) {
		t.Fatal(ids)
	}
}

// Every code, on this node and forwarded, read and write: an error that is the answer reaches
// the caller after one try; any other one is retried until the shard answers. What a caller gets
// whose time ends first is in TestEveryErrorOfATryIsClassified.
func TestErrorsAreFinalOrRetriedHereAndFromAfar(t *testing.T) {
	final := map[api.Code]bool{
		api.CodeInvalid: true, api.CodeTooLarge: true, api.CodeNotInteger: true, api.CodeCrossShard: true,
		api.CodeReleased: true, api.CodeSnapshotTooOld: true, api.CodePartsMissing: true, api.CodeInternal: true,
		api.CodeNotFloat: true, api.CodeOverflow: true, api.CodeNotFound: true, api.CodeUnauthorized: true, api.CodeDenied: true,
	}
	c := newCluster(t, 1, nil)
	for _, row := range api.Table {
		for _, node := range []api.NodeID{"a", "b"} { // a leads
			for _, write := range []bool{false, true} {
				var calls atomic.Int64
				c.groups[1].set(func(g *group) {
					g.before = func(context.Context, api.NodeID, bool) error {
						if calls.Add(1) <= 2 {
							return api.Errorf(row.Code, "twice")
						}
						return nil
					}
				})
				err := c.call(t, node, write, 30*time.Second)
				if final[row.Code] && (api.CodeOf(err) != row.Code || calls.Load() != 1) {
					t.Errorf("%s on %s, write %v: %v after %d tries", row.Code, node, write, err, calls.Load())
				}
				if !final[row.Code] && (err != nil || calls.Load() < 3) {
					t.Errorf("%s on %s, write %v: %v after %d tries", row.Code, node, write, err, calls.Load())
				}
			}
		}
	}
}

func (c *cluster) call(t *testing.T, node api.NodeID, write bool, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	if write {
		_, err := c.servers[node].Apply(ctx, put("k", "v"))
		return err
	}
	_, err := c.servers[node].Get(ctx, 0, []byte("k"))
	return err
}

// V3: a node that is asked by another one and does not lead says so.
func TestAForwardedRequestIsNotForwardedAgain(t *testing.T) {
	c := newCluster(t, 1, nil)
	var asked atomic.Int64
	c.groups[1].before = func(_ context.Context, node api.NodeID, _ bool) error {
		if node == "a" {
			asked.Add(1)
		}
		return nil
	}
	conn, err := c.servers["c"].opts.Peers.Conn("b", peers.Forward)
	if err != nil {
		t.Fatal(err)
	}
	_, err = peerv1.NewForwardClient(conn).Get(t.Context(), &peerv1.ForwardGetRequest{ShardId: 1, Epoch: 1, Keys: [][]byte{[]byte("k")}})
	var e *api.Error
	if !errors.As(api.FromStatus(err, false), &e) || e.Code != api.CodeNotLeader || e.Leader != "a" {
		t.Fatal(err)
	}
	if asked.Load() != 0 {
		t.Fatal("the request was forwarded again")
	}
}

func TestAPeerThatIsDownIsACertainRefusal(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.hosts[1] = []api.NodeID{"a", "b"}
	c.publish(2)
	c.net.cut("a")
	c.net.cut("b")
	for _, write := range []bool{false, true} {
		if err := c.call(t, "c", write, time.Second); !errors.Is(err, api.ErrUnavailable) {
			t.Fatalf("write %v: %v", write, err)
		}
	}
}

func TestALeaderThatDiesDuringAWriteLeavesNoDoubt(t *testing.T) {
	c := newCluster(t, 1, nil)
	if _, err := c.servers["c"].Apply(t.Context(), put("warm", "up")); err != nil {
		t.Fatal(err)
	}
	g := c.groups[1]
	died := false
	g.set(func(g *group) {
		g.after = func() error {
			if !died {
				died = true
				g.leader, g.term = "b", 2 // b has the entry too
				go c.net.cut("a")
				return api.Errorf(api.CodeUnknownOutcome, "dying")
			}
			return nil
		}
	})
	res, err := c.servers["c"].Apply(t.Context(), increment("n"))
	if err != nil || res.Ops[0].Number != 1 {
		t.Fatal(res, err)
	}
}

// A leader that is stopped never answers; the call must not wait for its own time to end when
// the replica here knows a newer leader.
func TestACallIsTakenBackFromALeaderThatIsReplaced(t *testing.T) {
	c := newCluster(t, 1, func(o *Options) { o.Timeout, o.AttemptTimeout = 20*time.Second, 15*time.Second })
	g := c.groups[1]
	stuck := make(chan struct{})
	g.before = func(ctx context.Context, node api.NodeID, _ bool) error {
		if node != "a" {
			return nil
		}
		close(stuck)
		<-ctx.Done()
		return ctx.Err()
	}
	go func() {
		<-stuck
		g.set(func(g *group) { g.leader, g.term = "b", 2 })
	}()
	c.routers["c"].SetLeader(1, "a")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if res, err := c.servers["c"].Apply(ctx, increment("n")); err != nil || res.Ops[0].Number != 1 {
		t.Fatal(res, err)
	}
}

// The leader cache of a node without requests grows stale; its own replica knows better.
func TestTheReplicaHereKnowsTheLeaderBetterThanTheCache(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.groups[1].before = func(_ context.Context, node api.NodeID, _ bool) error {
		if node == "a" {
			t.Error("the old leader, which may be stopped, was asked")
		}
		return nil
	}
	c.routers["c"].SetLeader(1, "a")
	c.groups[1].set(func(g *group) { g.leader, g.term = "b", 2 })
	if _, err := c.servers["c"].Apply(t.Context(), put("k", "v")); err != nil {
		t.Fatal(err)
	}
}

func TestAWriteThatNobodyAnswersIsUnknownAndAReadIsNot(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.groups[1].before = func(ctx context.Context, _ api.NodeID, _ bool) error {
		<-ctx.Done()
		return ctx.Err()
	}
	for _, node := range []api.NodeID{"a", "b"} {
		c.routers[node].SetLeader(1, "a")
		if err := c.call(t, node, true, time.Second); !errors.Is(err, api.ErrUnknownOutcome) {
			t.Errorf("write on %s: %v", node, err)
		}
		if err := c.call(t, node, false, time.Second); api.Row(api.CodeOf(err)).Outcome != api.NotExecuted {
			t.Errorf("read on %s: %v", node, err)
		}
	}
}

func TestADeadlineThatHasPassedSendsNothing(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.groups[1].before = func(context.Context, api.NodeID, bool) error {
		t.Error("a shard was asked")
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), -time.Second)
	defer cancel()
	if _, err := c.servers["b"].Apply(ctx, put("k", "v")); !errors.Is(err, api.ErrExpired) {
		t.Fatal(err)
	}
}

func TestAStaleMapIsReplacedAndTheRequestRetried(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.load("k", "v")
	c.split(1)
	m := c.clusterMap(2)
	c.view.set(m) // the routers do not know yet
	for _, node := range nodeNames {
		item, err := c.servers[node].Get(t.Context(), 0, []byte("k"))
		if err != nil || string(item.Value) != "v" {
			t.Fatalf("on %s: %v, %v", node, item, err)
		}
		if c.routers[node].Table().Revision() != 2 {
			t.Fatal("the router was not updated")
		}
	}
}

func TestAShardThatLagsBehindTheMapIsWaitedFor(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.groups[1].set(func(g *group) { g.epoch = 2 })
	c.publish(2)
	c.groups[1].set(func(g *group) { g.epoch = 1 })
	tries := 0
	c.groups[1].before = func(context.Context, api.NodeID, bool) error {
		if tries++; tries == 4 {
			c.groups[1].set(func(g *group) { g.epoch = 2 })
		}
		return nil
	}
	if _, err := c.servers["a"].Apply(t.Context(), put("k", "v")); err != nil {
		t.Fatal(err)
	}
}

func TestBeforeTheClusterFormedNothingIsReady(t *testing.T) {
	c := newCluster(t, 1, nil)
	s := New(Options{
		Node: "x", View: &view{changed: make(chan struct{})}, Router: newEmptyRouter(), Peers: c.servers["a"].opts.Peers,
		Local: func(api.ShardID) (Shard, bool) { return nil, false }, Sessions: c.servers["a"].opts.Sessions,
		Entropy: c.servers["a"].opts.Entropy,
	})
	defer s.Close()
	_, getErr := s.Get(t.Context(), 0, []byte("k"))
	_, applyErr := s.Apply(t.Context(), put("k", "v"))
	_, eachErr := s.applyEach(t.Context(), put("k", "v"))
	_, countErr := s.Count(t.Context(), 0)
	_, cursorErr := s.ScanCursor(t.Context(), 0, 0, 10, nil)
	var scanErr error
	for _, err := range s.Scan(t.Context(), api.Range{}) {
		scanErr = err
	}
	for _, err := range []error{getErr, applyErr, eachErr, countErr, cursorErr, scanErr} {
		if !errors.Is(err, api.ErrNotReady) {
			t.Errorf("%v", err)
		}
	}
	if err := s.Ready(); err == nil || !strings.Contains(err.Error(), "not formed") {
		t.Error(err)
	}
}
