package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/session"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/router"
)

func getting(keys ...string) Request {
	var q Request
	for _, key := range keys {
		q.Ops = append(q.Ops, api.Op{Kind: api.OpGet, Key: []byte(key), ReturnPrevious: true})
	}
	return q
}

func putting(key, value string) Request { return Request{Ops: put(key, value).Ops} }

func counting(key string) Request { return Request{Ops: increment(key).Ops} }

// applyEach runs operations that need not be one batch as a turn.
func (s *Server) applyEach(ctx context.Context, b api.Batch) ([]api.OpResult, error) {
	turn := Turn{Requests: []Request{{Ops: b.Ops, Each: true}}}
	s.Run(ctx, &turn)
	return turn.Requests[0].Results, turn.Requests[0].Err
}

// keyOf is a key of a shard.
func (c *cluster) keyOf(id api.ShardID, name string) string {
	for i := 0; ; i++ {
		if key := fmt.Sprint(name, i); c.owner(key).id == id {
			return key
		}
	}
}

// turnOf runs requests as one turn, and those that it leaves undone as a front end does.
func turnOf(t *testing.T, s *Server, requests ...Request) []Request {
	t.Helper()
	turn := Turn{Requests: requests}
	s.Run(t.Context(), &turn)
	for i := range requests {
		if !requests[i].Done {
			turn.Requests = requests[i : i+1]
			s.Run(t.Context(), &turn)
		}
		if !requests[i].Done {
			t.Fatalf("request %d alone is left undone", i)
		}
	}
	return requests
}

func TestRequestsOfATurnSeeThoseBeforeThem(t *testing.T) {
	for _, node := range nodeNames {
		c := newCluster(t, 3, nil)
		one, two := c.keyOf(1, "k"), c.keyOf(1, "l")
		done := turnOf(t, c.servers[node],
			getting(one), putting(one, "1"), getting(one, two), counting(one), getting(one), putting(two, "x"), getting(two, one), counting(one))
		var got []string
		for _, q := range done {
			if q.Err != nil {
				t.Fatal(q.Err)
			}
			for _, r := range q.Results {
				got = append(got, string(r.Previous)+":"+strconv.FormatInt(r.Number, 10))
			}
		}
		if want := "[:0 :0 1:1 :0 :2 2:1 :0 x:1 2:1 :3]"; fmt.Sprint(got) != want {
			t.Fatalf("on %s: %v, want %s", node, got, want)
		}
	}
}

// A front end survives a panic of ours (U4, C3); it must be the one that sees it.
func TestAPanicOnOneOfSeveralShardsIsTheCallers(t *testing.T) {
	for _, broken := range []api.ShardID{1, 2, 3} {
		c := newCluster(t, 3, nil)
		c.groups[broken].set(func(g *group) {
			g.before = func(context.Context, api.NodeID, bool) error { panic("a bug") }
		})
		var turn Turn
		for id := api.ShardID(1); id <= 3; id++ {
			turn.Requests = append(turn.Requests, putting(c.keyOf(id, "k"), "1"))
		}
		func() {
			defer func() {
				if p := recover(); !strings.HasPrefix(fmt.Sprint(p), "a bug") {
					t.Errorf("shard %d: the caller sees %v", broken, p)
				}
			}()
			c.servers[c.groups[broken].leader].Run(t.Context(), &turn)
		}()
		for i, q := range turn.Requests {
			if q.Done == (api.ShardID(i+1) == broken) {
				t.Errorf("shard %d panics, request %d is done: %t", broken, i, q.Done)
			}
		}
	}
}

// A shard that answers late keeps nobody waiting but the caller, who gets all answers at once.
func TestALateShardDelaysNoOtherShard(t *testing.T) {
	c := newCluster(t, 3, func(o *Options) { o.AttemptTimeout = 20 * time.Second })
	release := make(chan struct{})
	c.groups[1].set(func(g *group) {
		g.before = func(context.Context, api.NodeID, bool) error { <-release; return nil }
	})
	turn := Turn{Requests: []Request{
		putting(c.keyOf(1, "late"), "1"), putting(c.keyOf(2, "k"), "2"), getting(c.keyOf(1, "late")), counting(c.keyOf(3, "n")), getting(c.keyOf(2, "k")),
	}}
	ended := make(chan struct{})
	go func() { defer close(ended); c.servers["a"].Run(t.Context(), &turn) }()
	executed := func(id api.ShardID) int {
		g := c.groups[id]
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.batches)
	}
	testkit.Eventually(t, 20*time.Second, func() bool { return executed(2) == 1 && executed(3) == 1 })
	select {
	case <-ended:
		t.Fatal("the turn has ended without the late shard")
	default:
	}
	if executed(1) != 0 {
		t.Fatal("the late shard was not late")
	}
	close(release)
	<-ended
	for i, q := range turn.Requests {
		if q.Err != nil || !q.Done {
			t.Fatalf("request %d: %v", i, q.Err)
		}
	}
}

// V6: what a shard has refused for a while keeps everything behind it waiting, under the same request ids.
func TestRetriesKeepTheOrderAndTheIDsOfATurn(t *testing.T) {
	for _, node := range []api.NodeID{"a", "b"} { // a leads
		c := newCluster(t, 1, nil)
		var calls atomic.Int64
		c.groups[1].before = func(_ context.Context, _ api.NodeID, write bool) error {
			if n := calls.Add(1); write && (n == 1 || n == 3) {
				return api.Errorf(api.CodeUnavailable, "not now")
			}
			return nil
		}
		lost := true
		c.groups[1].after = func() error {
			if lost {
				lost = false
				return api.Errorf(api.CodeUnknownOutcome, "lost")
			}
			return nil
		}
		done := turnOf(t, c.servers[node], putting("k", "1"), counting("k"), putting("k", "5"), counting("k"), getting("k"))
		if n1, n2 := done[1].Results[0].Number, done[3].Results[0].Number; n1 != 2 || n2 != 6 || string(done[4].Results[0].Previous) != "6" {
			t.Fatalf("on %s: %d, %d, %q", node, n1, n2, done[4].Results[0].Previous)
		}
		firsts := map[api.RequestID]bool{}
		var last uint64
		for _, id := range c.groups[1].requests {
			if !firsts[id] && id.Sequence < last {
				t.Fatalf("request %d was first sent behind %d", id.Sequence, last)
			}
			firsts[id] = true
			last = max(last, id.Sequence)
		}
		if len(firsts) != 4 {
			t.Fatalf("four writes had %d ids", len(firsts))
		}
	}
}

// Whatever fails and moves meanwhile, a turn answers as its requests would one after the other.
func TestTurnsAnswerAsTheirRequestsAloneWould(t *testing.T) {
	rng := testkit.Rand(t)
	c := newCluster(t, 3, nil)
	model := map[string]string{}
	spoil := func(rng *rand.Rand) func(context.Context, api.NodeID, bool) error {
		return func(context.Context, api.NodeID, bool) error {
			switch rng.IntN(12) {
			case 0:
				return api.Errorf(api.CodeUnavailable, "not now")
			case 1:
				return &api.Error{Code: api.CodeNotLeader, Message: "not the leader"}
			}
			return nil
		}
	}
	for id, g := range c.groups {
		own := rand.New(rand.NewPCG(rng.Uint64(), uint64(id)))
		var before = spoil(own)
		g.before = func(ctx context.Context, node api.NodeID, write bool) error {
			g.mu.Lock()
			defer g.mu.Unlock()
			return before(ctx, node, write)
		}
		g.after = func() error { // under g.mu
			if own.IntN(10) == 0 {
				return api.Errorf(api.CodeUnknownOutcome, "lost")
			}
			return nil
		}
	}
	for range 40 {
		if rng.IntN(4) == 0 {
			c.groups[api.ShardID(1+rng.IntN(3))].set(func(g *group) { g.leader = nodeNames[rng.IntN(3)]; g.term++ })
		}
		requests, want := randomTurn(rng, model)
		for i, q := range turnOf(t, c.servers[nodeNames[rng.IntN(3)]], requests...) {
			if q.Err != nil {
				t.Fatalf("request %d: %v", i, q.Err)
			}
			got := ""
			for _, r := range q.Results {
				got += string(r.Previous) + ":"
				if q.Ops[0].Kind == api.OpIncrement {
					got += strconv.FormatInt(r.Number, 10)
				}
			}
			if got != want[i] {
				t.Fatalf("request %d of %d, %v: %q, want %q", i, len(requests), q.Ops, got, want[i])
			}
		}
	}
}

// randomTurn makes requests and, by the model, the answers.
func randomTurn(rng *rand.Rand, model map[string]string) (requests []Request, want []string) {
	for range 1 + rng.IntN(20) {
		key := fmt.Sprint("key", rng.IntN(9))
		switch rng.IntN(4) {
		case 0:
			model[key] = strconv.Itoa(rng.IntN(100))
			requests, want = append(requests, putting(key, model[key])), append(want, ":")
		case 1:
			n, _ := strconv.Atoi(model[key])
			model[key] = strconv.Itoa(n + 1)
			requests, want = append(requests, counting(key)), append(want, ":"+model[key])
		case 2:
			requests, want = append(requests, getting(key)), append(want, model[key]+":")
		default:
			other := fmt.Sprint("key", rng.IntN(9))
			requests, want = append(requests, getting(key, other)), append(want, model[key]+":"+model[other]+":")
		}
	}
	return requests, want
}

// V8: a turn never holds more than it may, and yet every read is answered.
func TestLargeValuesOfATurnAreReadOneByOne(t *testing.T) {
	c := newCluster(t, 2, nil)
	var requests []Request
	large := bytes.Repeat([]byte("x"), 40<<10)
	for i := range 6 {
		key := c.keyOf(api.ShardID(1+i%2), fmt.Sprint("large", i, "-"))
		c.load(key, string(large))
		requests = append(requests, getting(key))
	}
	huge := c.keyOf(1, "huge")
	c.load(huge, string(bytes.Repeat([]byte("y"), api.MaxWholeBytes)))
	requests = append(requests, putting(c.keyOf(1, "small"), "1"), getting(huge), putting(huge, "2"), getting(huge))
	several := getting(string(requests[0].Ops[0].Key), string(requests[1].Ops[0].Key))
	requests = append(requests, several, getting(huge))
	turn := Turn{Requests: requests}
	c.servers["a"].Run(t.Context(), &turn)
	held := 0
	for _, q := range requests {
		for _, r := range q.Results {
			held += len(r.Previous)
		}
	}
	if held > maxTurnValueBytes {
		t.Fatalf("a turn holds %d bytes of values", held)
	}
	done := turnOf(t, c.servers["a"], requests...)
	for i := range 6 {
		if done[i].Err != nil || !bytes.Equal(done[i].Results[0].Previous, large) {
			t.Fatalf("read %d: %v", i, done[i].Err)
		}
	}
	if q := done[10]; q.Err != nil || len(q.Results[0].Previous)+len(q.Results[1].Previous) != 2*len(large) || string(done[11].Results[0].Previous) != "2" {
		t.Fatal(q.Err)
	}
	if done[7].Err != nil || len(done[7].Results[0].Previous) != api.MaxWholeBytes || string(done[9].Results[0].Previous) != "2" {
		t.Fatal(done[7].Err, done[9].Err)
	}
}

func TestARequestOfSeveralShardsStandsBetweenThoseAroundIt(t *testing.T) {
	c := newCluster(t, 3, nil)
	one, two := c.keyOf(1, "k"), c.keyOf(2, "k")
	deleting := Request{Each: true, Ops: []api.Op{{Kind: api.OpDelete, Key: []byte(one)}, {Kind: api.OpDelete, Key: []byte(two)}}}
	crossing := Request{Ops: append(put(one, "x").Ops, put(two, "x").Ops...)}
	done := turnOf(t, c.servers["a"],
		putting(one, "1"), putting(two, "2"), getting(one, two), deleting, getting(one, two), crossing, putting(two, "3"), getting(two, one))
	if !errors.Is(done[5].Err, api.ErrCrossShard) {
		t.Fatal(done[5].Err)
	}
	values := func(i int) string {
		return string(done[i].Results[0].Previous) + "," + string(done[i].Results[1].Previous)
	}
	if values(2) != "1,2" || values(4) != "," || values(7) != "3," {
		t.Fatalf("%q %q %q", values(2), values(4), values(7))
	}
}

func TestATurnSurvivesASplit(t *testing.T) {
	c := newCluster(t, 1, nil)
	var keys []string
	for i := range 40 {
		keys = append(keys, fmt.Sprint("key", i))
	}
	split := false
	c.groups[1].before = func(context.Context, api.NodeID, bool) error {
		if !split {
			split = true
			c.split(1)
			c.publish(2)
		}
		return nil
	}
	var requests []Request
	for _, key := range keys {
		requests = append(requests, counting(key), counting(key))
	}
	for i, q := range turnOf(t, c.servers["b"], requests...) {
		if q.Err != nil || q.Results[0].Number != int64(1+i%2) {
			t.Fatalf("%d: %v", i, q.Err)
		}
	}
}

// A refusal of what a turn asks for too much of is no refusal of the turn: what got room has made it.
func TestATurnThatFillsAQueueGoesOnWhenThereIsRoom(t *testing.T) {
	c := newCluster(t, 1, nil)
	room := 3
	c.groups[1].before = func(context.Context, api.NodeID, bool) error {
		if room--; room < 0 {
			room = 3
			return api.Errorf(api.CodeOverloaded, "full")
		}
		return nil
	}
	var requests []Request
	for range 20 * maxOverloads {
		requests = append(requests, counting("n"))
	}
	for i, q := range turnOf(t, c.servers["a"], requests...) {
		if q.Err != nil || q.Results[0].Number != int64(i+1) {
			t.Fatalf("%d: %v", i, q.Err)
		}
	}
}

func TestWritesOfATurnThatNobodyAnswersAreUnknownAndReadsAreNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, shard := loneServer(t, func(o *Options) { o.Timeout, o.AttemptTimeout = time.Second, 300*time.Millisecond })
		shard.before = func(ctx context.Context, _ api.NodeID, _ bool) error { <-ctx.Done(); return ctx.Err() }
		for _, ctx := range []context.Context{t.Context(), Shared(t.Context())} {
			turn := Turn{Requests: []Request{putting("k", "1"), counting("k"), getting("k")}}
			began := time.Now()
			s.Run(ctx, &turn)
			if took := time.Since(began); took < time.Second || took > 3*time.Second {
				t.Fatal("it took ", took)
			}
			write, behind, reading := turn.Requests[0].Err, turn.Requests[1].Err, turn.Requests[2].Err
			if !errors.Is(write, api.ErrUnknownOutcome) || api.Row(api.CodeOf(behind)).Outcome == api.MayHaveRun && !errors.Is(behind, api.ErrUnknownOutcome) {
				t.Fatal(write, behind)
			}
			if api.Row(api.CodeOf(reading)).Outcome == api.MayHaveRun {
				t.Fatal(reading)
			}
		}
	})
}

// Requests under a shared context cost no timers of their own, and end with it and with the server.
func TestASharedContextBoundsEveryRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		s, _ := loneServer(t, nil)
		ctx := Shared(parent)
		first, _ := s.windowOf(ctx)
		again, _ := s.windowOf(ctx)
		<-time.After(windowLength + time.Millisecond)
		later, _ := s.windowOf(ctx)
		if first != again || later == first {
			t.Fatal("windows are not shared for their length")
		}
		deadline, ok := later.ctx.Deadline()
		if left := time.Until(deadline); !ok || left < s.opts.Timeout || left > s.opts.Timeout+windowLength {
			t.Fatal("a request has ", left)
		}
		cancel(errors.New("gone"))
		<-first.ctx.Done()
		<-later.attempt.Done()
		other := Shared(context.Background())
		w, _ := s.windowOf(other)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s.gate.cancel(api.Errorf(api.CodeShuttingDown, "late"))
		<-time.After(2 * s.opts.Timeout)
		if w.ctx.Err() == nil {
			t.Fatal("a window outlives its time")
		}
	})
}

// V7: pipelines are bounded by what single requests leave.
func TestPipelinesLeaveRoomForSingleRequests(t *testing.T) {
	g := newGate(10, 10)
	total := 0
	for range 100 {
		total += g.share(1000)
	}
	if total > maxSharedWrites || total < maxSharedWrites/2 {
		t.Fatalf("%d writes are shared", total)
	}
	if g.unshare(total); g.mu.shared != 0 || g.share(5) != 5 {
		t.Fatal("what was given back is not there")
	}
}

// loneServer is a server with one shard on its node.
func loneServer(t *testing.T, change func(*Options)) (*Server, *group) {
	g := &group{
		id: 1, epoch: 1, leader: "a", term: 1, arc: router.Arc{End: api.SlotCount}, data: map[string]api.Item{}, answers: map[api.RequestID]api.Result{},
	}
	c := &cluster{t: t, groups: map[api.ShardID]*group{1: g}, hosts: map[api.ShardID][]api.NodeID{1: {"a"}}}
	r := router.New()
	v := &view{changed: make(chan struct{})}
	m := c.clusterMap(1)
	v.set(m)
	if _, err := r.Update(m); err != nil {
		t.Fatal(err)
	}
	o := Options{
		Node: "a", View: v, Router: r, Local: func(id api.ShardID) (Shard, bool) { return c.local("a", id) },
		Sessions: session.New(entropy.System(), clock.Real{}), Entropy: entropy.System(),
	}
	if change != nil {
		change(&o)
	}
	s := New(o)
	t.Cleanup(func() { s.Close() })
	return s, g
}

// Close lets a turn end for a moment, then ends it, and refuses what comes.
func TestCloseEndsATurnUnderASharedContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, shard := loneServer(t, nil)
		begun := make(chan struct{}, 1)
		shard.before = func(ctx context.Context, _ api.NodeID, _ bool) error {
			select {
			case begun <- struct{}{}:
			default:
			}
			<-ctx.Done()
			return ctx.Err()
		}
		ctx := Shared(t.Context())
		turn, later := Turn{Requests: []Request{getting("k")}}, Turn{Requests: []Request{getting("k")}}
		ended := make(chan struct{})
		go func() { defer close(ended); s.Run(ctx, &turn) }()
		<-begun
		began := time.Now()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		<-ended
		if took := time.Since(began); took < closeGrace || took > closeGrace+time.Second {
			t.Fatal("closing took ", took)
		}
		s.Run(ctx, &later)
		for _, err := range []error{turn.Requests[0].Err, later.Requests[0].Err} {
			if api.CodeOf(err) != api.CodeShuttingDown {
				t.Fatal(err)
			}
		}
	})
}
