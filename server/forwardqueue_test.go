package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/shard"
)

// queued puts commands of one caller into a queue whose carriers are all busy.
func queued(ctx context.Context, s *Server, to forwardTarget, batches ...api.Batch) *forwarded {
	var commands []shard.Command
	for _, b := range batches {
		commands = append(commands, shard.Command{Batch: b})
	}
	f := newForwarded(ctx, commands)
	s.forwards.mu.Lock()
	if s.forwards.queues == nil {
		s.forwards.queues = map[forwardTarget]*forwardQueue{to: {messages: maxForwardMessages}}
	}
	s.forwards.mu.Unlock()
	s.forwards.add(s, to, f)
	return f
}

func TestWritesOfManyCallersGoInOneMessage(t *testing.T) {
	s, to := &Server{}, forwardTarget{"a", 1, false}
	soon, cancelSoon := context.WithTimeout(t.Context(), time.Minute)
	defer cancelSoon()
	late, cancelLate := context.WithTimeout(t.Context(), time.Hour)
	defer cancelLate()
	first := queued(soon, s, to, put("a", "1"), put("b", "2"))
	gone := queued(soon, s, to, put("c", "3"))
	second := queued(late, s, to, put("d", "4"))
	if s.forwards.abandon(to, gone) {
		t.Error("what waits counts as sent")
	}
	ctx, m := s.forwards.take(to, s.forwards.queues[to])
	defer m.cancel()
	if len(m.parts) != 2 || m.parts[0] != first || m.parts[1] != second {
		t.Fatalf("%d callers in the message", len(m.parts))
	}
	if at, _ := ctx.Deadline(); at != deadline(second) {
		t.Error("the message does not have the time of the caller who waits longest")
	}
	if !s.forwards.abandon(to, first) || ctx.Err() != nil {
		t.Error("a caller who gives up ends the message of another")
	}
	if !s.forwards.abandon(to, second) || ctx.Err() == nil {
		t.Error("nobody waits for the message, and it goes on")
	}
	for range maxForwardMessages {
		if _, m := s.forwards.take(to, s.forwards.queues[to]); m != nil {
			t.Error("something is left")
		}
	}
	if len(s.forwards.queues) != 0 {
		t.Error("a queue without work is kept")
	}
}

func TestAForwardedMessageIsBounded(t *testing.T) {
	s, to := &Server{}, forwardTarget{"a", 1, false}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	long := put("k", string(bytes.Repeat([]byte("x"), maxForwardBytes/2)))
	for range 3 {
		queued(ctx, s, to, long)
	}
	var many []api.Batch
	for range maxForwardCommands {
		many = append(many, put("k", "v"))
	}
	queued(ctx, s, to, many...)
	queued(ctx, s, to, put("k", "v"))
	for _, want := range []int{1, 1, 1, 1, 1} {
		_, m := s.forwards.take(to, s.forwards.queues[to])
		if m == nil || len(m.parts) != want {
			t.Fatalf("the message is %+v, want %d callers", m, want)
		}
		m.cancel()
	}
}

func TestManyForwardedWritesEachCountOnce(t *testing.T) {
	const callers, each = 60, 10
	c := newCluster(t, 1, nil)
	lost := 0
	c.groups[1].after = func() error { // runs under the group's lock
		if lost++; lost%50 == 0 {
			return api.Errorf(api.CodeUnknownOutcome, "the answer is lost")
		}
		return nil
	}
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				if _, err := c.servers["b"].Apply(t.Context(), increment("n")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	item, err := c.servers["c"].Get(t.Context(), 0, []byte("n"))
	if err != nil || string(item.Value) != strconv.Itoa(callers*each) {
		t.Errorf("%d increments are %s, %v", callers*each, item.Value, err)
	}
}

// The commands of one caller take several messages, of which the second is not sent when something
// in the first is to be sent again.
func TestBehindARefusedCommandNothingIsSentElsewhere(t *testing.T) {
	c := newCluster(t, 1, nil)
	count := 0
	c.groups[1].before = func(_ context.Context, node api.NodeID, write bool) error {
		if write && node == "a" {
			if count++; count == 100 {
				return api.Errorf(api.CodeOverloaded, "full")
			}
		}
		return nil
	}
	commands := make([]shard.Command, maxForwardCommands+50)
	for i := range commands {
		commands[i] = shard.Command{Epoch: 1, Batch: put(fmt.Sprint(i), "v"), Request: api.RequestID{
			Session: api.SessionID{CreatedMillis: 1}, Sequence: uint64(i + 1), Floor: 1,
		}}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s := c.servers["b"]
	outcomes := s.applyElsewhere(ctx, place{shard: s.opts.Router.Table().ShardOf(0), node: "a"}, commands)
	if len(outcomes) != len(commands) {
		t.Fatalf("%d outcomes for %d commands", len(outcomes), len(commands))
	}
	for i, o := range outcomes {
		switch {
		case i < 99 && o.Err != nil:
			t.Fatalf("command %d: %v", i, o.Err)
		case i == 99 && !errors.Is(o.Err, api.ErrOverloaded):
			t.Fatalf("command %d: %v", i, o.Err)
		case i > 99 && api.Row(api.CodeOf(o.Err)).Outcome != api.NotExecuted:
			t.Fatalf("command %d: %v", i, o.Err)
		}
	}
	if count != 100 {
		t.Errorf("%d commands reached the leader, want 100", count)
	}
}

func TestLongResultsAreLeftOutOfAMessageAndAskedForAgain(t *testing.T) {
	long := api.Result{Ops: []api.OpResult{{Previous: make([]byte, maxForwardAnswerBytes)}}}
	list := outcomesToPeer([]shard.Outcome{{Result: long}, {Result: long}, {Err: context.Canceled}})
	if list[0].GetResult() == nil {
		t.Error("the first result is left out")
	}
	for _, o := range list[1:] {
		if o.GetFailure().GetDetail().GetCode() != string(api.CodeUnknownOutcome) {
			t.Error(o)
		}
	}
}

// P4: what was damaged on the way between two nodes is refused before anything is executed, and sent
// again.
func TestADamagedForwardedCommandIsNotExecuted(t *testing.T) {
	c := newCluster(t, 1, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f := newForwarded(ctx, []shard.Command{{Epoch: 1, Batch: put("a", "1")}, {Epoch: 1, Batch: put("b", "2")}})
	service := c.servers["a"].ForwardService()
	req := &peerv1.ForwardApplyRequest{ShardId: 1, Commands: f.commands, Checksums: f.sums}
	for bit := range len(f.commands[1]) * 8 {
		f.commands[1][bit/8] ^= 1 << (bit % 8)
		_, err := service.Apply(ctx, req)
		if got := api.CodeOf(api.FromStatus(err, true)); got != api.CodeUnavailable {
			t.Fatalf("bit %d: %v", bit, err)
		}
		f.commands[1][bit/8] ^= 1 << (bit % 8)
	}
	if _, err := service.Apply(ctx, &peerv1.ForwardApplyRequest{ShardId: 1, Commands: f.commands}); !errors.Is(api.FromStatus(err, true), api.ErrInvalid) {
		t.Errorf("commands without checksums: %v", err)
	}
	if len(c.groups[1].batches) != 0 {
		t.Fatal("something was executed")
	}
	if res, err := service.Apply(ctx, req); err != nil || len(res.Outcomes) != 2 || len(c.groups[1].batches) != 2 {
		t.Errorf("what is whole: %v, %v", res, err)
	}
}

// P4: an outcome that was damaged on its way between two nodes is not told to a client, and not taken for another
// one: whether the command was executed is open, and is asked for again.
func TestADamagedOutcomeIsAnUnknownOne(t *testing.T) {
	result := api.Result{Applied: true, FailedOp: 1, Version: 7, Ops: []api.OpResult{
		{Applied: true, Existed: true, Previous: []byte("old"), PreviousVersion: 5, PreviousExpiry: 9, Number: -4, Text: []byte("1.5")},
		{Code: api.CodeNotFloat, Text: []byte{}},
	}}
	refused := api.Errorf(api.CodeNotLeader, "led by another node")
	refused.Shard, refused.Leader, refused.Epoch = 3, "b", 2
	sent := []shard.Outcome{{Result: result}, {Err: refused}, {}}
	raw, err := proto.Marshal(&peerv1.ForwardApplyResponse{Outcomes: outcomesToPeer(sent)})
	if err != nil {
		t.Fatal(err)
	}
	whole := outcomesFromPeer("b", unmarshalOutcomes(t, raw))
	if len(whole) != 3 || !reflect.DeepEqual(whole[0], sent[0]) || api.CodeOf(whole[1].Err) != api.CodeNotLeader || whole[2].Err != nil {
		t.Fatalf("%+v", whole)
	}
	damaged := 0
	for bit := range len(raw) * 8 {
		broken := bytes.Clone(raw)
		broken[bit/8] ^= 1 << (bit % 8)
		var m peerv1.ForwardApplyResponse
		if proto.Unmarshal(broken, &m) != nil || len(m.Outcomes) != 3 {
			continue // gRPC or the number of answers says so
		}
		for i, got := range outcomesFromPeer("b", m.Outcomes) {
			switch same := reflect.DeepEqual(got.Result, whole[i].Result) && fmt.Sprint(got.Err) == fmt.Sprint(whole[i].Err); {
			case api.CodeOf(got.Err) == api.CodeUnknownOutcome:
				damaged++
			case !same:
				t.Fatalf("bit %d made outcome %d %+v", bit, i, got)
			}
		}
	}
	if damaged < 100 {
		t.Errorf("%d flipped bits of %d were noticed", damaged, len(raw)*8)
	}
}

func unmarshalOutcomes(t *testing.T, raw []byte) []*peerv1.ForwardOutcome {
	t.Helper()
	var m peerv1.ForwardApplyResponse
	if err := proto.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m.Outcomes
}
