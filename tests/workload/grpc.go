package workload

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/status"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/history"
)

// GRPC is a Store on the generated gRPC stubs.
type GRPC struct {
	KV   pb.KVClient
	conn *grpc.ClientConn
}

// DialGRPC makes a client of the node at address; dial nil is TCP.
func DialGRPC(address string, dial Dial) (*GRPC, error) {
	if dial == nil {
		dial = TCP
	}
	// A node that was restarted is dialled again at once; the default waits up to two minutes.
	quick := grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond}, MinConnectTimeout: time.Second}
	conn, err := cluster.Dial(address, grpc.WithConnectParams(quick),
		grpc.WithContextDialer(func(ctx context.Context, a string) (net.Conn, error) { return dial(ctx, a) }))
	if err != nil {
		return nil, err
	}
	return &GRPC{KV: pb.NewKVClient(conn), conn: conn}, nil
}

// Close closes the connection.
func (g *GRPC) Close() { _ = g.conn.Close() }

// Supports implements Store.
func (g *GRPC) Supports(history.Input) bool { return true }

// Perform implements Store.
func (g *GRPC) Perform(ctx context.Context, in history.Input) (history.Output, error) {
	key := []byte(in.Key)
	switch in.Kind {
	case history.Read:
		return g.read(ctx, in.Key)
	case history.Write:
		r, err := g.KV.Put(ctx, &pb.PutRequest{Key: key, Value: []byte(in.Value)})
		return written(r, err)
	case history.CompareAndSet:
		r, err := g.KV.Put(ctx, &pb.PutRequest{Key: key, Value: []byte(in.Value),
			Condition: pb.ConditionKind_CONDITION_KIND_VERSION, ConditionVersion: in.Expected.Version})
		return written(r, err)
	case history.Delete:
		r, err := g.KV.Delete(ctx, &pb.DeleteRequest{Key: key})
		out, err := written(r, err)
		if err == nil {
			out.Existed = &r.Results[0].Existed
		}
		return out, err
	default:
		return g.Increment(ctx, in.Key, in.Delta, nil)
	}
}

// Increment adds delta under the given request id; nil asks for no protection.
func (g *GRPC) Increment(ctx context.Context, key string, delta int64, id *pb.RequestId) (history.Output, error) {
	r, err := g.KV.Increment(ctx, &pb.IncrementRequest{Key: []byte(key), Delta: delta, RequestId: id})
	out, err := written(r, err)
	if err == nil {
		out.Number = r.Results[0].Number
	}
	return out, err
}

func (g *GRPC) read(ctx context.Context, key string) (history.Output, error) {
	r, err := g.KV.Get(ctx, &pb.GetRequest{Key: []byte(key)})
	if err != nil {
		return history.Output{}, fromStatus(err, false)
	}
	out := history.Output{Seen: history.Seen{Found: r.Found, Value: string(r.Value), Version: r.Version}}
	if !r.Found {
		out.Version = 0
	}
	out.Number, _ = strconv.ParseInt(string(r.Value), 10, 64) // meaningful for counters only
	return out, nil
}

func written(r *pb.BatchResponse, err error) (history.Output, error) {
	if err != nil {
		return history.Output{}, fromStatus(err, true)
	}
	if r.Applied && len(r.Results) != 1 {
		return history.Output{}, fmt.Errorf("%d results for one operation", len(r.Results))
	}
	return history.Output{Seen: history.Seen{Version: r.Version}, Applied: r.Applied}, nil
}

// fromStatus is api.FromStatus, but a connection that could not be made is told from one that broke. gRPC
// has no code for the difference, only this text, which it writes before a request gets a stream.
func fromStatus(err error, write bool) error {
	if strings.Contains(status.Convert(err).Message(), "Error while dialing") {
		return fmt.Errorf("%w: %w", errNotSent, err)
	}
	return api.FromStatus(err, write)
}
