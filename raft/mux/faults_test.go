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
	"google.golang.org/grpc/mem"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/raft/wire"
)

// faultyStream is the answering end of a stream whose batches something happens to.
type faultyStream struct {
	grpc.ServerStream
	onRecv func(*batch) (again bool, err error) // again: the batch is lost
	onSend func(*batch) (lost bool, err error)
}

func (s *faultyStream) RecvMsg(m any) error {
	for {
		if err := s.ServerStream.RecvMsg(m); err != nil {
			return err
		}
		if again, err := s.onRecv(m.(*batch)); err != nil || !again {
			return err
		}
	}
}

func (s *faultyStream) SendMsg(m any) error {
	if lost, err := s.onSend(m.(*batch)); err != nil || lost {
		return err
	}
	return s.ServerStream.SendMsg(m)
}

func faulty(onRecv, onSend func(*batch) (bool, error)) grpc.ServerOption {
	return grpc.StreamInterceptor(func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return handler(srv, &faultyStream{ServerStream: s, onRecv: onRecv, onSend: onSend})
	})
}

func fine(*batch) (bool, error) { return false, nil }

// damage changes one bit of a received batch.
func damage(b *batch, at int) {
	data := append([]byte(nil), b.in.ReadOnlyData()...)
	data[at/8%len(data)] ^= 1 << (at % 8)
	b.free()
	b.in = mem.SliceBuffer(data)
}

// TestADamagedBatchHasNoEffectAndEndsTheStream (RM3): not even its frames before the damage.
func TestADamagedBatchHasNoEffectAndEndsTheStream(t *testing.T) {
	var on atomic.Bool
	p := newWirePair(t, faulty(func(b *batch) (bool, error) {
		if on.Load() {
			damage(b, len(b.in.ReadOnlyData())*8-1)
		}
		return false, nil
	}, fine))
	pipe := p.pipeline(t)
	on.Store(true)
	if _, err := pipe.AppendEntries(request(2, &hraft.Log{Index: 2, Term: 2}), &hraft.AppendEntriesResponse{}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-pipe.(*pipeline).ctx.Done():
	case <-time.After(patience):
		t.Fatal("the pipeline lives")
	}
	if err := context.Cause(pipe.(*pipeline).ctx); !errors.Is(err, errLinkBroken) {
		t.Fatalf("it died of %v", err)
	}
	if len(p.b.consumer) != 0 {
		t.Fatal("a damaged message was delivered")
	}
}

// follower answers what arrives at b as a follower of term 2 would that has nothing at first, until
// ctx ends, and checks that no entry is skipped.
func (p *wirePair) follower(ctx context.Context, t *testing.T) {
	var last uint64
	for {
		select {
		case rpc := <-p.b.Consumer():
			r := rpc.Command.(*hraft.AppendEntriesRequest)
			yes := r.PrevLogEntry <= last
			for _, e := range r.Entries {
				if yes && e.Index > last+1 {
					t.Errorf("entry %d comes after %d", e.Index, last)
				}
				if yes {
					last = max(last, e.Index)
				}
			}
			rpc.Respond(&hraft.AppendEntriesResponse{Term: 2, Success: yes, LastLog: last}, nil)
		case <-ctx.Done():
			return
		}
	}
}

// TestAPipelineOverAFaultyStreamWorksOrDies (RM6): batches are lost, late or damaged and streams break,
// and each request is answered, or the pipeline dies and another one goes on after it.
func TestAPipelineOverAFaultyStreamWorksOrDies(t *testing.T) {
	seed := testkit.Seed(t)
	var mu sync.Mutex
	random := testkit.NewRand(seed)
	draw := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(n)
	}
	hurt := func(b *batch) (bool, error) {
		switch draw(25) {
		case 0:
			return false, errors.New("the stream breaks")
		case 1:
			if b.in != nil {
				damage(b, draw(1<<20))
			}
		case 2:
			pause := time.NewTimer(time.Duration(draw(5)) * time.Millisecond)
			<-pause.C
		}
		return false, nil
	}
	p := newWirePair(t, faulty(hurt, hurt))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.follower(ctx, t) })
	defer running.Wait()
	defer cancel()
	const entries = 500
	acknowledged, lives := uint64(0), 0
	for deadline := time.Now().Add(patience); acknowledged < entries; lives++ {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d entries after %d pipelines", acknowledged, entries, lives)
		}
		acknowledged = p.life(t, acknowledged, entries)
	}
	t.Logf("%d pipelines", lives)
}

// life runs one pipeline until it dies or everything is acknowledged, and returns how far it came.
func (p *wirePair) life(t *testing.T, acknowledged, entries uint64) uint64 {
	var resp hraft.AppendEntriesResponse
	if err := p.a.AppendEntries("", p.target, next(acknowledged, 0), &resp); err != nil || !resp.Success {
		return acknowledged
	}
	pipe, err := p.a.AppendEntriesPipeline("", p.target)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pipe.Close() }()
	for sent := acknowledged; acknowledged < entries; {
		if sent < entries {
			sent++
			if _, err := pipe.AppendEntries(next(sent-1, 1), &hraft.AppendEntriesResponse{}); err != nil {
				return acknowledged
			}
		}
		select {
		case f := <-pipe.Consumer():
			if r := f.Request().Entries; f.Error() == nil && r[0].Index != acknowledged+1 {
				t.Fatalf("entry %d is acknowledged after %d", r[0].Index, acknowledged)
			} else if f.Error() == nil {
				acknowledged++
			}
		case <-pipe.(*pipeline).ctx.Done():
			return acknowledged
		case <-time.After(patience):
			t.Fatal("the pipeline is stuck")
		}
	}
	return acknowledged
}

// next is a request of count entries after prev.
func next(prev uint64, count int) *hraft.AppendEntriesRequest {
	r := &hraft.AppendEntriesRequest{RPCHeader: wire.Header([]byte("a#1")), Term: 2, PrevLogEntry: prev, PrevLogTerm: 2, LeaderCommitIndex: 1}
	for i := range count {
		r.Entries = append(r.Entries, &hraft.Log{Index: prev + uint64(i) + 1, Term: 2, Data: []byte("x")})
	}
	return r
}
