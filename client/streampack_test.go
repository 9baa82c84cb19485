package client

import (
	"bytes"
	"testing"
	"time"

	protobuf "google.golang.org/protobuf/proto"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/clock"
)

// idle is a stream that nobody sends from.
func idle() *stream {
	s := &stream{wake: make(chan struct{}, 1), conn: &connection{clock: clock.NewManual(time.UnixMilli(0))}}
	s.mu.open = make(map[uint64]*streamed)
	return s
}

func waiting(t *testing.T, id uint64, bytes int) *streamed {
	t.Helper()
	call := &pb.Call{Id: id, Request: &pb.Call_Get{Get: &pb.GetRequest{Key: make([]byte, bytes)}}}
	message, err := protobuf.Marshal(&pb.StreamRequest{Calls: []*pb.Call{call}})
	if err != nil {
		t.Fatal(err)
	}
	return &streamed{id: id, message: message, done: make(chan outcome, 1)}
}

// decoded is a message as a node reads it.
func decoded(t *testing.T, m *joined) *pb.StreamRequest {
	t.Helper()
	data, err := streamCodec{}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	got := &pb.StreamRequest{}
	if err := protobuf.Unmarshal(data.Materialize(), got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestWhatWaitsIsPackedInOrderUpToAFullMessage(t *testing.T) {
	s := idle()
	for id := uint64(1); id <= maxMessageCalls+3; id++ {
		s.enqueue(waiting(t, id, 10))
	}
	s.enqueue(waiting(t, 5000, maxMessageBytes)) // more than fits beside others
	var m joined
	next := uint64(1)
	for _, want := range []int{maxMessageCalls, 3, 1} {
		if s.pack(&m) {
			t.Fatal("over")
		}
		got := decoded(t, &m)
		if len(got.Calls) != want {
			t.Fatalf("%d calls, want %d", len(got.Calls), want)
		}
		for _, call := range got.Calls {
			if call.Id != next && call.Id != 5000 {
				t.Fatalf("call %d stands where %d should", call.Id, next)
			}
			next++
		}
	}
	if s.pack(&m) || len(m.parts) > 0 {
		t.Error("something is left")
	}
	if s.retire(); !s.pack(&m) || s.enqueue(waiting(t, 6000, 1)) {
		t.Error("a retired stream is not over when nothing waits")
	}
}

// However long a node does not read, the queue has no calls of callers who have gone.
func TestACallerWhoGivesUpLeavesTheQueue(t *testing.T) {
	s := idle()
	kept := waiting(t, 1, 10)
	s.enqueue(kept)
	for id := uint64(2); id < 100; id++ {
		c := waiting(t, id, 10)
		s.enqueue(c)
		if s.abandon(c) {
			t.Fatal("a call that waits counts as sent")
		}
	}
	if len(s.mu.queue) != 1 || len(s.mu.open) != 1 {
		t.Fatalf("%d calls are queued, %d are open", len(s.mu.queue), len(s.mu.open))
	}
	var m joined
	if s.pack(&m); !bytes.Equal(m.parts[0], kept.message) || !s.abandon(kept) {
		t.Error("a call that is packed does not count as sent")
	}
	late := &pb.Answer{Id: 1}
	if found := s.match(nil, []*pb.Answer{late}); found[0] != nil {
		t.Error("an answer has a caller who has gone")
	}
}
