package rpc

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/clock"
)

func guarded(t *testing.T) *fixture {
	return startWith(t, func(o *Options) { o.Access = passwords(t, clock.NewManual(time.UnixMilli(1))) })
}

// large is a body that a stranger could have a node hold.
func large() *grpc_health_v1.HealthCheckRequest {
	return &grpc_health_v1.HealthCheckRequest{Service: strings.Repeat("x", 4*maxStrangerBytes)}
}

// TestAStrangerSendsLittle (C6): what is open to anybody does not take in bodies of any size.
func TestAStrangerSendsLittle(t *testing.T) {
	f := guarded(t)
	health := grpc_health_v1.NewHealthClient(f.conn)
	if _, err := health.Check(t.Context(), large()); status.Code(err) != codes.Unavailable {
		t.Fatal("a large body of a stranger:", err)
	}
	for range 100 { // on the next connection, as many small ones as anybody wants
		if _, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	authorized := with(t, "authorization", "Bearer right")
	put := &pb.PutRequest{Key: []byte("k"), Value: make([]byte, 4*maxStrangerBytes)}
	if _, err := pb.NewKVClient(f.conn).Put(authorized, put); err != nil {
		t.Fatal("a large body of a client:", err)
	}
	if _, err := health.Check(t.Context(), large()); status.Code(err) != codes.NotFound {
		t.Fatal("the client's connection is held to a stranger's bound:", err)
	}
}

// TestAStrangerCallsLittleAtOnce (C6): calls that last are few on a connection, and each that ends
// makes room for the next.
func TestAStrangerCallsLittleAtOnce(t *testing.T) {
	f := guarded(t)
	health := grpc_health_v1.NewHealthClient(f.conn)
	watch := func() error {
		stream, err := health.Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	open := 0
	for ; open < maxStrangerCalls/2; open++ { // leaves room for calls that are answered and not over
		if err := watch(); err != nil {
			t.Fatal(open, err)
		}
	}
	for range 2 * maxStrangerCalls {
		if _, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	err := watch()
	for ; err == nil && open <= maxStrangerCalls; open++ {
		err = watch()
	}
	if open > maxStrangerCalls || api.CodeOf(api.FromStatus(err, false)) != api.CodeOverloaded {
		t.Fatal(open, err)
	}
	if _, err := pb.NewKVClient(f.conn).Get(with(t, "authorization", "Bearer right"), &pb.GetRequest{Key: []byte("k")}); err != nil {
		t.Fatal("a client:", err)
	}
	if err := watch(); err != nil {
		t.Fatal("a client's watch:", err)
	}
}

// TestWithoutAPasswordNobodyIsAStranger: probes may be as many as anybody wants.
func TestWithoutAPasswordNobodyIsAStranger(t *testing.T) {
	f := start(t)
	if _, err := grpc_health_v1.NewHealthClient(f.conn).Check(t.Context(), large()); status.Code(err) != codes.NotFound {
		t.Fatal(err)
	}
}
