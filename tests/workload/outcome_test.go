package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/tests/history"
)

func TestOutcomesAreUnknownUnlessSomebodySaysOtherwise(t *testing.T) {
	for _, c := range []struct {
		err  error
		want history.Outcome
	}{
		{nil, history.OK},
		{io.ErrUnexpectedEOF, history.Unknown},
		{context.DeadlineExceeded, history.Unknown},
		{errors.New("surprise"), history.Unknown},
		{fmt.Errorf("dial: %w", errNotSent), history.Failed},
		{api.ErrUnknownOutcome, history.Unknown},
		{api.ErrUnavailable, history.Failed},
		{api.ErrStoreFailed, history.Unknown},
		{redisReply("UNKNOWN the leader went away"), history.Unknown},
		{redisReply("OVERLOADED slow down"), history.Failed},
		{redisReply("NOBODYKNOWS this word"), history.Unknown},
	} {
		if got := Outcome(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

type redisReply string

func (e redisReply) Error() string { return string(e) }
func (redisReply) RedisError()     {}

// slowKV answers a Put when told to.
type slowKV struct {
	pb.UnimplementedKVServer
	arrived chan struct{}
	answer  chan struct{}
}

func (s *slowKV) Put(ctx context.Context, _ *pb.PutRequest) (*pb.BatchResponse, error) {
	s.arrived <- struct{}{}
	select {
	case <-s.answer:
	case <-ctx.Done():
	}
	return &pb.BatchResponse{Applied: true, Version: 7, Results: []*pb.OpResult{{}}}, nil
}

func serveKV(t *testing.T, kv pb.KVServer) (address string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterKVServer(server, kv)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func put(t *testing.T, g *GRPC) history.Outcome {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err := g.Perform(ctx, history.Input{Kind: history.Write, Key: "k", Value: "v"})
	t.Logf("put: %v", err)
	return Outcome(err)
}

func TestWriteToAClosedPortCertainlyDidNotRun(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	g, err := DialGRPC(address, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if got := put(t, g); got != history.Failed {
		t.Errorf("by gRPC: %v", got)
	}
	r := DialRESP(address, nil)
	defer r.Close()
	_, err = r.Perform(t.Context(), history.Input{Kind: history.Write, Key: "k", Value: "v"})
	if got := Outcome(err); got != history.Failed {
		t.Errorf("by RESP: %v: %v", got, err)
	}
}

func TestLostReplyIsUnknownAlthoughTheServerExecuted(t *testing.T) {
	kv := &slowKV{arrived: make(chan struct{}, 10), answer: make(chan struct{})}
	f := NewFlaky(1)
	g, err := DialGRPC(serveKV(t, kv), f.Dial)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	go func() {
		<-kv.arrived
		f.PerMille.Store(1000)
		close(kv.answer)
	}()
	// The request had arrived, so the reply is lost either way: when it is read, or because gRPC
	// wrote an acknowledgement of its own just before and that broke the connection.
	if got := put(t, g); got != history.Unknown || f.Lost.Load()+f.Cuts.Load() == 0 {
		t.Errorf("%v with %d replies lost and %d connections cut", got, f.Lost.Load(), f.Cuts.Load())
	}
	f.PerMille.Store(0)
	if got := put(t, g); got != history.OK {
		t.Errorf("after healing: %v", got)
	}
}

func TestRequestOnAConnectionThatIsCutBehindItIsNeverKnown(t *testing.T) {
	kv := &slowKV{arrived: make(chan struct{}, 100), answer: make(chan struct{})}
	close(kv.answer)
	f := NewFlaky(1)
	g, err := DialGRPC(serveKV(t, kv), f.Dial)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if got := put(t, g); got != history.OK {
		t.Fatal(got)
	}
	f.PerMille.Store(1000)
	// Now and then gRPC reads an acknowledgement first, and that is where the connection breaks.
	if got := put(t, g); got != history.Unknown || f.Lost.Load()+f.Cuts.Load() == 0 {
		t.Errorf("%v with %d replies lost and %d connections cut", got, f.Lost.Load(), f.Cuts.Load())
	}
}
