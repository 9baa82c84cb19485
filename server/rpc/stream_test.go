package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/server"
)

// scripted is a KV that runs what the test tells it to, for each request; keys decide its shard.
type scripted struct {
	recorder
	run   func(ctx context.Context, q *server.Request)
	turns atomic.Int64
}

func (s *scripted) Run(ctx context.Context, t *server.Turn) {
	s.turns.Add(1)
	for i := range t.Requests {
		q := &t.Requests[i]
		q.Done = true
		s.run(ctx, q)
	}
}

// Home is the first byte of the first key.
func (s *scripted) Home(q *server.Request) (api.ShardID, bool) {
	return api.ShardID(q.Ops[0].Key[0]), true
}

func echo(_ context.Context, q *server.Request) {
	for i := range q.Ops {
		q.Results = append(q.Results, api.OpResult{Applied: true, Existed: true, Previous: q.Ops[i].Key, PreviousVersion: 4})
	}
	q.Applied, q.Version = true, 9
}

type callStream = grpc.BidiStreamingClient[pb.StreamRequest, pb.StreamResponse]

func openStream(t *testing.T, run func(context.Context, *server.Request), change ...func(*Options)) (*fixture, *scripted, callStream) {
	t.Helper()
	kv := &scripted{run: run}
	f := startWith(t, func(o *Options) {
		o.KV = kv
		for _, c := range change {
			c(o)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	stream, err := pb.NewKVClient(f.conn).Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return f, kv, stream
}

func getCall(id uint64, key string) *pb.Call {
	return &pb.Call{Id: id, Request: &pb.Call_Get{Get: &pb.GetRequest{Key: []byte(key)}}}
}

func putCall(id uint64, key string) *pb.Call {
	op := &pb.Op{Kind: pb.OpKind_OP_KIND_PUT, Key: []byte(key), Value: []byte("v")}
	return &pb.Call{Id: id, Request: &pb.Call_Batch{Batch: &pb.BatchRequest{Ops: []*pb.Op{op}}}}
}

func send(t *testing.T, stream callStream, calls ...*pb.Call) {
	t.Helper()
	if err := stream.Send(&pb.StreamRequest{Calls: calls}); err != nil {
		t.Fatal(err)
	}
}

// receive takes n answers, by the ids of their calls.
func receive(t *testing.T, stream callStream, n int) map[uint64]*pb.Answer {
	t.Helper()
	answers := make(map[uint64]*pb.Answer)
	for len(answers) < n {
		m, err := stream.Recv()
		if err != nil {
			t.Fatalf("after %d of %d answers: %v", len(answers), n, err)
		}
		for _, a := range m.Answers {
			if answers[a.Id] != nil {
				t.Fatalf("call %d is answered twice", a.Id)
			}
			answers[a.Id] = a
		}
	}
	return answers
}

func TestAStreamAnswersEveryKindOfCall(t *testing.T) {
	var seen server.Request
	f, kv, stream := openStream(t, func(ctx context.Context, q *server.Request) {
		if q.Ops[0].Kind == api.OpPut {
			seen = *q
		}
		echo(ctx, q)
	})
	id := &pb.RequestId{SessionCreatedMs: 5, SessionRandom: 6, Sequence: 7, Floor: 4}
	put := putCall(2, "a")
	put.GetBatch().RequestId = id
	send(t, stream, getCall(1, "a"), put,
		&pb.Call{Id: 3, Request: &pb.Call_MultiGet{MultiGet: &pb.MultiGetRequest{Keys: [][]byte{[]byte("a"), []byte("ab")}}}},
		&pb.Call{Id: 4}, getCall(5, "b"),
		&pb.Call{Id: 6, Request: &pb.Call_Get{Get: &pb.GetRequest{Namespace: 1, Key: []byte("a")}}},
		&pb.Call{Id: 7, Request: &pb.Call_Batch{Batch: &pb.BatchRequest{Ops: []*pb.Op{{Kind: 99, Key: []byte("a")}}}}})
	answers := receive(t, stream, 7)
	if g := answers[1].GetGet(); !g.GetFound() || string(g.Value) != "a" || g.Version != 4 {
		t.Error(answers[1])
	}
	if b := answers[2].GetBatch(); !b.GetApplied() || b.Version != 9 || len(b.Results) != 1 {
		t.Error(answers[2])
	}
	want := api.RequestID{Session: api.SessionID{CreatedMillis: 5, Random: 6}, Sequence: 7, Floor: 4}
	if seen.ID != want || !seen.Atomic { // C2
		t.Errorf("the write reached the KV as %+v", seen)
	}
	if m := answers[3].GetMultiGet(); len(m.GetItems()) != 2 || string(m.Items[1].Value) != "ab" {
		t.Error(answers[3])
	}
	for _, bad := range []uint64{4, 7} {
		if d := answers[bad].GetFailure().GetDetail(); d.GetCode() != string(api.CodeInvalid) {
			t.Errorf("call %d: %v", bad, answers[bad])
		}
	}
	if answers[5].GetGet() == nil || answers[6].GetGet() == nil {
		t.Error(answers[5], answers[6])
	}
	if n := kv.turns.Load(); n != 3 {
		t.Errorf("%d turns, want one of reads and one of writes on shard a, and one on shard b", n)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Error("the end of a half-closed stream:", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	ops := make(map[observed]int)
	for _, o := range f.seen {
		ops[o]++
	}
	if ops[observed{"grpc", "get", ""}] != 3 || ops[observed{"grpc", "batch", ""}] != 1 || ops[observed{"grpc", "multiget", ""}] != 1 ||
		ops[observed{"grpc", "batch", api.CodeInvalid}] != 1 {
		t.Errorf("observed %v", ops)
	}
}

// C1, and hints survive.
func TestEveryErrorOfTheTableIsAnAnswerOfAStream(t *testing.T) {
	byKey := make(map[string]error)
	for _, row := range api.Table {
		byKey[string(row.Code)] = &api.Error{Code: row.Code, Message: "text", Shard: 7, Leader: "node-b", Epoch: 3}
	}
	byKey["context"] = context.DeadlineExceeded
	_, _, stream := openStream(t, func(_ context.Context, q *server.Request) { q.Err = byKey[string(q.Ops[0].Key)] })
	calls := make(map[uint64]string)
	for code := range byKey {
		for _, call := range []func(uint64, string) *pb.Call{getCall, putCall} {
			id := uint64(len(calls))
			calls[id] = code
			send(t, stream, call(id, code))
		}
	}
	for id, a := range receive(t, stream, len(calls)) {
		d := a.GetFailure().GetDetail()
		if calls[id] == "context" {
			if c := api.Code(d.GetCode()); c != api.CodeExpired && c != api.CodeUnknownOutcome {
				t.Errorf("the end of a context: %v", a)
			}
			continue
		}
		if d.GetCode() != calls[id] || d.ShardId != 7 || d.LeaderId != "node-b" || d.Epoch != 3 || d.Retry != api.Row(api.Code(d.Code)).Retry {
			t.Errorf("%s: %v", calls[id], a)
		}
	}
}

func TestACallOfAStreamWaitsForNoOther(t *testing.T) {
	release := make(chan struct{})
	_, _, stream := openStream(t, func(ctx context.Context, q *server.Request) {
		if q.Ops[0].Key[0] == 's' || q.Ops[0].Kind == api.OpPut {
			<-release
		}
		echo(ctx, q)
	})
	send(t, stream, getCall(1, "slow"), putCall(2, "quick"), getCall(3, "quick"))
	send(t, stream, getCall(4, "quick"))
	if got := receive(t, stream, 2); got[3] == nil || got[4] == nil {
		t.Error(got)
	}
	close(release)
	if got := receive(t, stream, 2); got[1] == nil || got[2] == nil {
		t.Error(got)
	}
}

func TestEachCallOfAStreamHasItsOwnTime(t *testing.T) {
	_, _, stream := openStream(t, func(ctx context.Context, q *server.Request) {
		deadline, ok := ctx.Deadline()
		q.Results = []api.OpResult{{Existed: true, Previous: fmt.Append(nil, ok, time.Until(deadline) > time.Minute)}}
	})
	short, long := getCall(1, "k"), getCall(2, "k")
	short.TimeoutMs, long.TimeoutMs = 10_000, 300_000
	send(t, stream, short, long, getCall(3, "k"))
	got := receive(t, stream, 3)
	for id, want := range map[uint64]string{1: "true false", 2: "true true", 3: "false false"} {
		if value := string(got[id].GetGet().GetValue()); value != want {
			t.Errorf("call %d: has a deadline, beyond a minute: %s, want %s", id, value, want)
		}
	}
}

// C3.
func TestAPanicInATurnIsAnAnswer(t *testing.T) {
	_, _, stream := openStream(t, func(ctx context.Context, q *server.Request) {
		if q.Ops[0].Key[0] == 'p' {
			panic("bug")
		}
		echo(ctx, q)
	})
	send(t, stream, getCall(1, "panics"), putCall(2, "panics"), getCall(3, "works"))
	got := receive(t, stream, 3)
	for _, id := range []uint64{1, 2} {
		if d := got[id].GetFailure().GetDetail(); d.GetCode() != string(api.CodeInternal) {
			t.Error(got[id])
		}
	}
	if got[3].GetGet() == nil {
		t.Error(got[3])
	}
}

// revocable is an Access whose password can be taken away.
type revocable struct{ revoked atomic.Bool }

func (*revocable) Required() bool { return true }

func (r *revocable) Check(_ context.Context, _ string, password []byte, _ net.Addr) error {
	if !r.Matches(password) {
		return api.Errorf(api.CodeUnauthorized, "wrong password")
	}
	return nil
}

func (r *revocable) Matches(password []byte) bool {
	return !r.revoked.Load() && string(password) == "right"
}

func TestAStreamEndsWithItsPassword(t *testing.T) {
	access := &revocable{}
	f := startWith(t, func(o *Options) { o.KV, o.Access = &scripted{run: echo}, access })
	stream, err := pb.NewKVClient(f.conn).Stream(with(t, "authorization", "Bearer right"))
	if err != nil {
		t.Fatal(err)
	}
	send(t, stream, getCall(1, "k"))
	if got := receive(t, stream, 1); got[1].GetGet() == nil {
		t.Error(got[1])
	}
	access.revoked.Store(true)
	send(t, stream, getCall(2, "k"), putCall(3, "k"))
	for _, a := range receive(t, stream, 2) {
		if d := a.GetFailure().GetDetail(); d.GetCode() != string(api.CodeUnauthorized) {
			t.Error(a)
		}
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Error("the end of the stream:", err)
	}
	refused, err := pb.NewKVClient(f.conn).Stream(with(t, "authorization", "Bearer right"))
	if err == nil {
		_, err = refused.Recv()
	}
	if header, _ := refused.Header(); status.Code(err) != codes.Unauthenticated || header != nil || len(status.Convert(err).Details()) == 0 {
		t.Error("a stream after that:", err, header)
	}
}

func TestANodeThatStopsAnswersWhatIsUnderWay(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f, _, stream := openStream(t, func(ctx context.Context, q *server.Request) {
		once.Do(func() { close(entered) })
		<-release
		echo(ctx, q)
	})
	send(t, stream, putCall(1, "k"))
	<-entered
	closed := make(chan error, 1)
	go func() { closed <- f.server.Close() }()
	<-f.server.closing.Done()
	close(release)
	if got := receive(t, stream, 1); got[1].GetBatch() == nil {
		t.Error(got[1])
	}
	_, err := stream.Recv()
	if got := api.FromStatus(err, false); !errors.Is(got, api.ErrShuttingDown) {
		t.Error("the end of the stream:", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// P7: what nobody reads is not made. Every call is answered all the same.
func TestAClientThatDoesNotReadItsAnswersWaits(t *testing.T) {
	const calls, size = 400, 900 << 10
	value := bytes.Repeat([]byte("x"), size)
	var made atomic.Int64
	_, _, stream := openStream(t, func(_ context.Context, q *server.Request) {
		made.Add(1)
		q.Results = []api.OpResult{{Existed: true, Previous: value}}
	})
	sent := make(chan error, 1)
	go func() {
		for id := range uint64(calls) {
			if err := stream.Send(&pb.StreamRequest{Calls: []*pb.Call{getCall(id, "k")}}); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	if err := <-sent; err != nil { // 400 small messages fit into the window of a stream that is not read
		t.Fatal(err)
	}
	found := 0
	for id, a := range receive(t, stream, calls) {
		if len(a.GetGet().GetValue()) == size {
			found++
		} else if a.GetFailure().GetDetail().GetCode() != string(api.CodeOverloaded) {
			t.Errorf("call %d: %v", id, a)
		}
	}
	t.Logf("%d of %d calls found their value", found, made.Load())
	if found == 0 {
		t.Error("no call found its value")
	}
}

// P6: an error that leaves an outcome open does not become one that says that nothing was executed.
func TestAnErrorStaysWhatItIsWhenTheClientDoesNotRead(t *testing.T) {
	c := &conversation{server: &Server{ledger: ledger{limit: maxUnreadBytes}}, wake: make(chan struct{}, 1)}
	c.mu.waiting = maxWaitingBytes
	open := api.Errorf(api.CodeUnknownOutcome, "nobody knows")
	c.queueAnswers([]answered{
		{Answer: &pb.Answer{Response: failure(open, true)}, bytes: answerBytes},
		{Answer: &pb.Answer{Response: &pb.Answer_Batch{Batch: &pb.BatchResponse{Applied: true}}}, bytes: answerBytes},
		{Answer: &pb.Answer{Response: &pb.Answer_Get{Get: &pb.GetResponse{}}}, bytes: answerBytes},
	})
	for i, want := range []api.Code{api.CodeUnknownOutcome, api.CodeUnknownOutcome, api.CodeOverloaded} {
		if got := c.mu.answers[i].GetFailure().GetDetail().GetCode(); got != string(want) {
			t.Errorf("answer %d: %s, want %s", i, got, want)
		}
	}
}

func TestAnAnswerThatWouldKeepOthersWaitingIsAskedForByItself(t *testing.T) {
	_, _, stream := openStream(t, func(_ context.Context, q *server.Request) {
		q.Applied = true
		q.Results = []api.OpResult{{Applied: true, Existed: true, Previous: make([]byte, longAnswerBytes)}}
	})
	send(t, stream, getCall(1, "k"), putCall(2, "k"))
	got := receive(t, stream, 2)
	if !got[1].GetTooLong() {
		t.Error("a read of 1 MiB came by the stream")
	}
	if len(got[2].GetBatch().GetResults()) != 1 {
		t.Error("what a write came to is not in its answer")
	}
}
