package mux

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/raft/wire"
)

// TestAStreamMovesToTheNextConnectionWithoutABreak has a server that gives up connections after a
// moment. Every request is answered, in order, and nobody is taken for lost.
func TestAStreamMovesToTheNextConnectionWithoutABreak(t *testing.T) {
	var streams, open atomic.Int32
	p := newWirePair(t,
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: 100 * time.Millisecond, MaxConnectionAgeGrace: time.Minute}),
		grpc.StreamInterceptor(func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			streams.Add(1)
			open.Add(1)
			defer open.Add(-1)
			return handler(srv, s)
		}))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	var last uint64
	running.Go(func() {
		for {
			select {
			case rpc := <-p.b.Consumer():
				term := rpc.Command.(*hraft.AppendEntriesRequest).Term
				if term <= last {
					t.Errorf("request %d arrives after %d", term, last)
				}
				last = term
				rpc.Respond(&hraft.AppendEntriesResponse{Term: term, Success: true}, nil)
			case <-ctx.Done():
				return
			}
		}
	})
	l := newLink(p.muxA.pool, "b", peers.Log, func(n api.NodeID) { t.Errorf("%s is taken for lost", n) })
	running.Go(func() { l.loop(ctx) })
	if err := l.waitReady(ctx); err != nil {
		t.Fatal(err)
	}
	requests := 0
	for streams.Load() < 6 {
		requests++
		args := &hraft.AppendEntriesRequest{Term: uint64(requests), PrevLogEntry: 1}
		f := p.a.request(p.target, wire.KindAppendEntries, nil)
		f.Append = args
		waiting, cancel := context.WithTimeout(ctx, 10*time.Second)
		if _, err := l.ask(waiting, &f); err != nil {
			t.Fatalf("request %d after %d streams: %v", requests, streams.Load(), err)
		}
		cancel()
	}
	if n := open.Load(); n > 2 {
		t.Errorf("%d streams are open", n)
	}
	t.Logf("%d requests over %d streams", requests, streams.Load())
}

// busyStream has another request queued by the time that one is sent.
type busyStream struct {
	grpc.ClientStream
	send func() error
}

func (s busyStream) SendMsg(any) error { return s.send() }

// TestABusyStreamMovesAsWell: there is always more to send, and the move does not wait for a pause.
func TestABusyStreamMovesAsWell(t *testing.T) {
	l := newLink(nil, "b", peers.Log, nil)
	l.connect()
	queue := func() error {
		return l.start(t.Context(), &wire.Frame{Kind: wire.KindProbe}, &call{})
	}
	if err := queue(); err != nil {
		t.Fatal(err)
	}
	next := &carrier{}
	old := &carrier{next: make(chan *carrier, 1), ctx: t.Context()}
	old.next <- next
	sent := 0
	old.stream = busyStream{send: func() error {
		if sent++; sent == 100 {
			return errors.New("it does not move")
		}
		return queue()
	}}
	if got, err := l.send(old); got != next || err != nil {
		t.Fatal(got, err)
	}
}
