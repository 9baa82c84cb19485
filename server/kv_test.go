package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/router"
)

func newEmptyRouter() *router.Router { return router.New() }

// V4: the error names the limit and the size, and no shard is asked.
func TestWhatIsOverALimitIsRefusedFirst(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.groups[1].before = func(context.Context, api.NodeID, bool) error {
		t.Error("a shard was asked")
		return nil
	}
	s := c.servers["a"]
	longKey := make([]byte, api.MaxKeyBytes+1)
	batch := func(ops ...api.Op) error {
		_, err := s.Apply(t.Context(), api.Batch{Ops: ops})
		return err
	}
	get := func(keys ...[]byte) error {
		_, err := s.MultiGet(t.Context(), 0, keys)
		return err
	}
	half := make([]byte, api.MaxValueBytes)
	for name, check := range map[string]struct {
		err  error
		code api.Code
		text []string
	}{
		"empty key":       {batch(api.Op{Kind: api.OpPut}), api.CodeInvalid, nil},
		"long key":        {batch(api.Op{Kind: api.OpPut, Key: longKey}), api.CodeTooLarge, []string{"65537", "65536"}},
		"long value":      {batch(api.Op{Kind: api.OpPut, Key: []byte("k"), Value: make([]byte, api.MaxValueBytes+1)}), api.CodeTooLarge, []string{"67108865", "67108864"}},
		"large batch":     {batch(api.Op{Kind: api.OpPut, Key: []byte("k"), Value: half}, api.Op{Kind: api.OpPut, Key: []byte("k"), Value: half}), api.CodeTooLarge, []string{"134217730"}},
		"many operations": {batch(make([]api.Op, api.MaxBatchOps+1)...), api.CodeTooLarge, []string{"100001", "100000"}},
		"no operations":   {batch(), api.CodeInvalid, nil},
		"get empty key":   {get([]byte{}), api.CodeInvalid, nil},
		"get long key":    {get(longKey), api.CodeTooLarge, []string{"65537", "65536"}},
		"get many keys":   {get(make([][]byte, api.MaxBatchOps+1)...), api.CodeTooLarge, []string{"100001", "100000"}},
	} {
		if api.CodeOf(check.err) != check.code {
			t.Errorf("%s: %v", name, check.err)
		}
		for _, text := range check.text {
			if !strings.Contains(check.err.Error(), text) {
				t.Errorf("%s: %q does not say %s", name, check.err, text)
			}
		}
	}
	if _, err := s.Get(t.Context(), 1, []byte("k")); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("namespace 1: %v", err)
	}
}

func TestLargestAllowedIsTaken(t *testing.T) {
	c := newCluster(t, 1, patient)
	op := api.Op{Kind: api.OpPut, Key: bytes.Repeat([]byte("k"), api.MaxKeyBytes), Value: make([]byte, api.MaxValueBytes)}
	if _, err := c.servers["b"].Apply(t.Context(), api.Batch{Ops: []api.Op{op}}); err != nil { // forwarded to a
		t.Fatal(err)
	}
	if _, err := c.servers["c"].Get(t.Context(), 0, op.Key); !errors.Is(err, api.ErrTooLarge) {
		t.Fatal(err)
	}
	op.Value = op.Value[:api.MaxWholeBytes]
	if _, err := c.servers["b"].Apply(t.Context(), api.Batch{Ops: []api.Op{op}}); err != nil {
		t.Fatal(err)
	}
	item, err := c.servers["c"].Get(t.Context(), 0, op.Key)
	if err != nil || len(item.Value) != api.MaxWholeBytes {
		t.Fatal(len(item.Value), err)
	}
	// What of a batch is not in parts is bounded for itself.
	var small api.Batch
	for i := range api.MaxInlineBatchBytes / (api.MinStagedBytes - 1) {
		small.Ops = append(small.Ops, api.Op{Kind: api.OpPut, Key: fmt.Append(nil, "{k}", i), Value: make([]byte, api.MinStagedBytes-1)})
	}
	if _, err := c.servers["b"].Apply(t.Context(), small); !errors.Is(err, api.ErrTooLarge) {
		t.Fatal(err)
	}
}

// keyOn is a key that lives on the shard with the given id.
func (c *cluster) keyOn(id api.ShardID, n int) string {
	for i := 0; ; i++ {
		key := fmt.Sprintf("key-%d", i)
		if c.owner(key).id == id {
			if n == 0 {
				return key
			}
			n--
		}
	}
}

func TestABatchOverShardsIsRefused(t *testing.T) {
	c := newCluster(t, 3, nil)
	b := put(c.keyOn(1, 0), "v")
	b.Ops = append(b.Ops, put(c.keyOn(2, 0), "v").Ops...)
	for _, node := range nodeNames {
		if _, err := c.servers[node].Apply(t.Context(), b); !errors.Is(err, api.ErrCrossShard) {
			t.Fatalf("on %s: %v", node, err)
		}
	}
	tagged := put("{tag}1", "v")
	tagged.Ops = append(tagged.Ops, put("{tag}2", "v").Ops...)
	if _, err := c.servers["a"].Apply(t.Context(), tagged); err != nil {
		t.Fatal(err)
	}
}

func TestMultiGetReadsAllShardsInTheOrderAsked(t *testing.T) {
	c := newCluster(t, 3, nil)
	var keys [][]byte
	for i := range 500 {
		key := fmt.Sprintf("key-%d", i)
		keys = append(keys, []byte(key))
		if i%3 != 0 {
			c.load(key, "value of "+key)
		}
	}
	keys = append(keys, keys[1])
	items, err := c.servers["b"].MultiGet(t.Context(), 0, keys)
	if err != nil || len(items) != len(keys) {
		t.Fatal(len(items), err)
	}
	for i, item := range items {
		found := i%3 != 0 || i == 500
		if item.Found != found || !bytes.Equal(item.Key, keys[i]) || found && string(item.Value) != "value of "+string(keys[i]) {
			t.Fatalf("item %d: %+v", i, item)
		}
	}
}

func TestMultiGetOfLargeValuesGoesInSteps(t *testing.T) {
	c := newCluster(t, 1, patient)
	value := strings.Repeat("v", 3<<20)
	var keys [][]byte
	for i := range 15 {
		keys = append(keys, []byte(fmt.Sprint(i)))
		c.load(fmt.Sprint(i), value)
	}
	for _, node := range nodeNames {
		items, err := c.servers[node].MultiGet(t.Context(), 0, keys)
		if err != nil {
			t.Fatal(err)
		}
		for i := range items {
			if string(items[i].Key) != fmt.Sprint(i) || len(items[i].Value) != len(value) {
				t.Fatalf("item %d on %s is wrong", i, node)
			}
		}
	}
	for i := range 15 {
		keys = append(keys, keys[i])
	}
	if _, err := c.servers["b"].MultiGet(t.Context(), 0, keys); !errors.Is(err, api.ErrTooLarge) {
		t.Fatalf("90 MiB in one answer: %v", err)
	}
}

func TestMultiGetSurvivesASplitBetweenGroupingAndReading(t *testing.T) {
	c := newCluster(t, 1, nil)
	var keys [][]byte
	for i := range 50 {
		keys = append(keys, []byte(fmt.Sprint(i)))
		c.load(fmt.Sprint(i), "v")
	}
	split := false
	c.groups[1].before = func(context.Context, api.NodeID, bool) error {
		if !split {
			split = true
			c.split(1)
			c.view.set(c.clusterMap(2))
		}
		return nil
	}
	items, err := c.servers["a"].MultiGet(t.Context(), 0, keys)
	if err != nil {
		t.Fatal(err)
	}
	for i := range items {
		if !items[i].Found {
			t.Fatalf("key %d is gone", i)
		}
	}
}

func TestApplyEachWorksOverShards(t *testing.T) {
	c := newCluster(t, 3, nil)
	var ops []api.Op
	for i := range 60 {
		key := fmt.Sprint(i)
		if i%2 == 0 {
			c.load(key, "v")
		}
		ops = append(ops, api.Op{Kind: api.OpDelete, Key: []byte(key)})
	}
	results, err := c.servers["b"].applyEach(t.Context(), api.Batch{Ops: ops})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Existed != (i%2 == 0) {
			t.Fatalf("result %d: %+v", i, r)
		}
	}
	if count, err := c.servers["c"].Count(t.Context(), 0); err != nil || count != 0 {
		t.Fatal(count, err)
	}
}

func TestAPartOfApplyEachThatFailsLeavesTheWholeUnknown(t *testing.T) {
	c := newCluster(t, 3, nil)
	refuse := func(context.Context, api.NodeID, bool) error { return api.Errorf(api.CodeInvalid, "no") }
	c.groups[2].before = refuse
	ops := []api.Op{
		{Kind: api.OpDelete, Key: []byte(c.keyOn(1, 0))},
		{Kind: api.OpDelete, Key: []byte(c.keyOn(2, 0))},
	}
	_, err := c.servers["a"].applyEach(t.Context(), api.Batch{Ops: ops})
	if !errors.Is(err, api.ErrUnknownOutcome) || !strings.Contains(err.Error(), "the rest may have been executed") {
		t.Fatal(err)
	}
	c.groups[1].set(func(g *group) { g.before = refuse })
	if _, err := c.servers["a"].applyEach(t.Context(), api.Batch{Ops: ops}); !errors.Is(err, api.ErrInvalid) {
		t.Fatalf("nothing ran, and the error is %v", err)
	}
}

func joined(op api.Op) api.Op {
	op.Joined = true
	return op
}

// A step is never cut: it travels to its shard whole, or is refused before anything is proposed.
func TestApplyEachKeepsStepsTogether(t *testing.T) {
	c := newCluster(t, 3, nil)
	set := func(key string) api.Op { return put(key, "v").Ops[0] }
	ops := []api.Op{
		set(c.keyOn(1, 0)), joined(set(c.keyOn(1, 1))), set(c.keyOn(2, 0)), set(c.keyOn(1, 2)), joined(set(c.keyOn(1, 3))),
	}
	results, err := c.servers["b"].applyEach(t.Context(), api.Batch{Ops: ops, Independent: true})
	if err != nil || len(results) != len(ops) {
		t.Fatal(results, err)
	}
	want := map[api.ShardID][]bool{1: {false, true, false, true}, 2: {false}}
	for id, joins := range want {
		for _, b := range c.groups[id].batches {
			if !b.Independent || len(b.Ops) != len(joins) {
				t.Fatalf("shard %d got %+v", id, b)
			}
			for i := range joins {
				if b.Ops[i].Joined != joins[i] {
					t.Errorf("operation %d of shard %d: joined %t", i, id, b.Ops[i].Joined)
				}
			}
		}
		if len(c.groups[id].batches) != 1 {
			t.Errorf("shard %d got %d batches", id, len(c.groups[id].batches))
		}
	}
	for name, ops := range map[string][]api.Op{
		"a step over two shards":   {set(c.keyOn(1, 4)), set(c.keyOn(2, 4)), joined(set(c.keyOn(1, 5)))},
		"a source on another":      {set(c.keyOn(1, 4)), {Kind: api.OpCopy, Key: []byte(c.keyOn(1, 5)), Source: []byte(c.keyOn(2, 0))}},
		"a source of a later step": {set(c.keyOn(1, 4)), joined(api.Op{Kind: api.OpRename, Key: []byte(c.keyOn(1, 5)), Source: []byte(c.keyOn(2, 0))})},
	} {
		if _, err := c.servers["a"].applyEach(t.Context(), api.Batch{Ops: ops, Independent: true}); !errors.Is(err, api.ErrCrossShard) {
			t.Errorf("%s: %v", name, err)
		}
	}
	rename := api.Batch{Ops: []api.Op{{Kind: api.OpRename, Key: []byte(c.keyOn(1, 5)), Source: []byte(c.keyOn(2, 0))}}}
	if _, err := c.servers["a"].Apply(t.Context(), rename); !errors.Is(err, api.ErrCrossShard) {
		t.Errorf("a batch whose source is on another shard: %v", err)
	}
	if len(c.groups[1].batches) != 1 || len(c.groups[2].batches) != 1 {
		t.Error("what was refused was proposed")
	}
}

// What an operation found and did is the same whether the leader is here or elsewhere.
func TestResultsSurviveForwarding(t *testing.T) {
	full := api.Result{Applied: true, FailedOp: 3, Version: 9, Ops: []api.OpResult{
		{
			Applied: true, Existed: true, Previous: []byte("old"), PreviousVersion: 7, PreviousExpiry: 1_790_000_000_000,
			Number: -4, Text: []byte("1.5"),
		},
		{Code: api.CodeNotFloat, Existed: true, Previous: []byte{}, Text: []byte{}},
		{},
	}}
	raw, err := proto.Marshal(resultToPeer(full))
	if err != nil {
		t.Fatal(err)
	}
	var m peerv1.ForwardResult
	if err := proto.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	if got := resultFromPeer(&m); !reflect.DeepEqual(got, full) {
		t.Errorf("%+v came back as %+v", full, got)
	}
	for _, v := range []any{api.OpResult{}, api.Result{}} {
		// A field that is added must be forwarded, and be in this test.
		if want, got := map[string]int{"OpResult": 8, "Result": 4}[reflect.TypeOf(v).Name()], reflect.TypeOf(v).NumField(); got != want {
			t.Errorf("%T has %d fields, %d are forwarded", v, got, want)
		}
	}
}

func TestApplyEachSurvivesASplit(t *testing.T) {
	c := newCluster(t, 1, nil)
	var ops []api.Op
	for i := range 40 {
		ops = append(ops, put(fmt.Sprint(i), "v").Ops...)
	}
	split := false
	c.groups[1].before = func(context.Context, api.NodeID, bool) error {
		if !split {
			split = true
			c.split(1)
			c.view.set(c.clusterMap(2))
		}
		return nil
	}
	if _, err := c.servers["a"].applyEach(t.Context(), api.Batch{Ops: ops}); err != nil {
		t.Fatal(err)
	}
	if count, err := c.servers["b"].Count(t.Context(), 0); err != nil || count != 40 {
		t.Fatal(count, err)
	}
}

func TestTooMuchAtOnceIsRefusedEarly(t *testing.T) {
	c := newCluster(t, 1, func(o *Options) { o.MaxInFlightBytes, o.MaxInFlight = 1000, 2 })
	release := make(chan struct{})
	inside := make(chan struct{}, 2)
	c.groups[1].before = func(context.Context, api.NodeID, bool) error {
		inside <- struct{}{}
		<-release
		return nil
	}
	s := c.servers["a"]
	done := make(chan error, 2)
	go func() {
		_, err := s.Apply(t.Context(), put("k", strings.Repeat("v", 800)))
		done <- err
	}()
	<-inside
	if _, err := s.Apply(t.Context(), put("k", strings.Repeat("v", 300))); !errors.Is(err, api.ErrOverloaded) {
		t.Fatal(err)
	}
	go func() {
		_, err := s.Get(t.Context(), 0, []byte("k"))
		done <- err
	}()
	<-inside
	if _, err := s.Get(t.Context(), 0, []byte("k")); !errors.Is(err, api.ErrOverloaded) {
		t.Fatal(err)
	}
	close(release)
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func TestCloseEndsWhatRunsAndRefusesTheRest(t *testing.T) {
	c := newCluster(t, 1, func(o *Options) { o.Timeout, o.AttemptTimeout = time.Minute, time.Minute })
	inside := make(chan struct{})
	c.groups[1].before = func(ctx context.Context, _ api.NodeID, _ bool) error {
		close(inside)
		<-ctx.Done()
		return ctx.Err()
	}
	s := c.servers["a"]
	done := make(chan error)
	go func() {
		_, err := s.Apply(t.Context(), put("k", "v"))
		done <- err
	}()
	<-inside
	s.gate.close(10 * time.Millisecond)
	if err := <-done; !errors.Is(err, api.ErrUnknownOutcome) {
		t.Fatalf("the write that ran: %v", err)
	}
	if _, err := s.Get(t.Context(), 0, []byte("k")); !errors.Is(err, api.ErrShuttingDown) {
		t.Fatal(err)
	}
}

func TestStatusAndReady(t *testing.T) {
	var failed error
	live := []*pb.NodeStatus{{NodeId: "a", Liveness: "alive"}, {NodeId: "b", Liveness: "alive"}, {NodeId: "c", Liveness: "alive"}}
	c := newCluster(t, 3, func(o *Options) {
		o.Failed = func() error { return failed }
		o.Liveness = func() []*pb.NodeStatus { return live }
	})
	st := c.servers["a"].Status()
	if !st.Ready || st.FailuresTolerated != 1 || len(st.Leaders) != 3 || st.MasterId != "a" || st.Map.Revision != 1 {
		t.Fatalf("%+v", st)
	}
	live[2].Liveness = "dead"
	if st := c.servers["a"].Status(); st.FailuresTolerated != 0 {
		t.Fatalf("with one of three nodes dead %d failures are tolerated", st.FailuresTolerated)
	}
	c.groups[2].set(func(g *group) { g.leader = "" })
	if st := c.servers["a"].Status(); st.Ready || st.NotReadyReason != "shard 2 has no leader" {
		t.Fatalf("%+v", st)
	}
	failed = errors.New("disk")
	if err := c.servers["a"].Ready(); err == nil || !strings.Contains(err.Error(), "storage failed") {
		t.Fatal(err)
	}
	if c.servers["a"].Alive() == nil {
		t.Fatal("alive")
	}
}

// A batch that only reads has no outcome that could be unknown, and takes no request id.
func TestABatchOfReadsIsARead(t *testing.T) {
	c := newCluster(t, 1, func(o *Options) { o.AttemptTimeout = 20 * time.Millisecond })
	b := api.Batch{Ops: []api.Op{{Kind: api.OpGet, Key: []byte("k")}, {Kind: api.OpCheck, Key: []byte("k")}}}
	for _, node := range nodeNames {
		if _, err := c.servers[node].Apply(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range c.groups[1].requests {
		if !id.IsZero() {
			t.Fatalf("request id %+v", id)
		}
	}
	c.groups[1].set(func(g *group) {
		g.before = func(ctx context.Context, _ api.NodeID, _ bool) error {
			<-ctx.Done()
			return ctx.Err()
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	for _, node := range nodeNames {
		if _, err := c.servers[node].Apply(ctx, b); err == nil || api.Row(api.CodeOf(err)).Outcome != api.NotExecuted {
			t.Fatalf("on %s: %v", node, err)
		}
	}
}

// A caller whose context has ended gets an error at once, whatever there is room for, and nothing is run.
func TestARequestWhoseContextHasEndedIsNotRun(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.load("k", "v")
	s := c.servers["a"]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	put := api.Op{Kind: api.OpPut, Key: []byte("k"), Value: []byte("new")}
	get := api.Op{Kind: api.OpGet, Key: []byte("k"), ReturnPrevious: true}
	if _, err := s.Apply(ctx, api.Batch{Ops: []api.Op{put}}); !errors.Is(err, context.Canceled) {
		t.Errorf("a write: %v", err)
	}
	if _, err := s.Read(ctx, Query{Keys: [][]byte{[]byte("k")}}); !errors.Is(err, context.Canceled) {
		t.Errorf("a read: %v", err)
	}
	if _, err := s.Read(ctx, Query{Keys: [][]byte{[]byte("k")}, MaxStaleness: time.Second}); !errors.Is(err, context.Canceled) {
		t.Errorf("a stale read: %v", err)
	}
	stale := Request{Ops: []api.Op{get}, MaxStaleness: time.Second, Here: true}
	for name, q := range map[string]Request{"writes": {Ops: []api.Op{put}}, "reads": {Ops: []api.Op{get}}, "reads stale": stale} {
		for _, turnContext := range []context.Context{ctx, Shared(ctx)} {
			turn := Turn{Requests: []Request{q}}
			if s.Run(turnContext, &turn); !turn.Requests[0].Done || !errors.Is(turn.Requests[0].Err, context.Canceled) {
				t.Errorf("a turn that %s: %+v", name, turn.Requests[0])
			}
		}
	}
	if item, err := s.Get(t.Context(), 0, []byte("k")); err != nil || string(item.Value) != "v" {
		t.Fatalf("%+v, %v", item, err)
	}
}
