package rpc

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/server"
)

// C9: a client that opens many streams, asks for large values and takes no answer.
func TestManyStreamsThatAreNotReadHoldBoundedMemoryTogether(t *testing.T) {
	const (
		limit   = 4 << 20
		streams = 100
		calls   = 20
		size    = 200 << 10
	)
	var f *fixture
	var most, ran atomic.Int64
	large := make([]byte, size)
	all := make(chan struct{})
	kv := &scripted{run: func(_ context.Context, q *server.Request) {
		q.Results = []api.OpResult{{Applied: true, Existed: true, Previous: large}}
		if string(q.Ops[0].Key) == "short" {
			q.Results[0].Previous = large[:100]
			return
		}
		most.Store(max(most.Load(), f.server.ledger.used.Load()))
		if ran.Add(1) == streams*calls {
			close(all)
		}
	}}
	f = startWith(t, func(o *Options) { o.KV = kv })
	f.server.ledger.limit = limit
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	honest, err := pb.NewKVClient(f.conn).Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range streams {
		stream, err := pb.NewKVClient(f.conn).Stream(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var some []*pb.Call
		for i := range calls {
			some = append(some, getCall(uint64(i), "long"))
		}
		send(t, stream, some...)
		for i := range calls {
			send(t, stream, getCall(uint64(calls+i), "long")) // which may be taken in later, or never
		}
	}
	<-all
	for id := range uint64(100) {
		send(t, honest, getCall(id, "short"))
		a := receive(t, honest, 1)[id]
		if len(a.GetGet().GetValue()) != 100 {
			t.Fatalf("a client that takes its answers gets %v", a)
		}
	}
	leave()
	if err := f.server.Close(); err != nil {
		t.Fatal(err)
	}
	// Each stream holds at least one call, and what refuses it.
	if most := most.Load(); most < limit/2 || most > 2*limit+streams*2*calls*(callOverhead+2*answerBytes) {
		t.Errorf("the streams held %d bytes, the limit is %d", most, limit)
	}
	if left := f.server.ledger.used.Load(); left != 0 {
		t.Errorf("%d bytes are counted after the last stream", left)
	}
}

func TestAMessageThatFindsNoRoomEndsItsStream(t *testing.T) {
	f := startWith(t, func(o *Options) { o.KV = &scripted{run: echo} })
	f.server.ledger.limit = 0
	stream, err := pb.NewKVClient(f.conn).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	send(t, stream, getCall(1, "k"))
	if _, err = stream.Recv(); api.CodeOf(api.FromStatus(err, false)) != api.CodeOverloaded {
		t.Errorf("the stream ended with %v", err)
	}
}
