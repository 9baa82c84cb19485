package resp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/session"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/server"
	"github.com/lightning-db/lightning/shard"
)

// instant is a replica that leads and answers at once, so that what is measured is the front end.
type instant struct {
	server.Shard
	value []byte
}

func (i instant) Leader() (api.NodeID, api.Term) { return "a", 1 }

func (i instant) Get(_ context.Context, _ api.Epoch, _ api.Namespace, keys [][]byte) ([]api.Item, error) {
	items := make([]api.Item, len(keys))
	for n := range items {
		items[n] = api.Item{Key: keys[n], Value: i.value, Version: 1, Found: true}
	}
	return items, nil
}

func (i instant) Apply(context.Context, shard.Command) (api.Result, error) {
	return api.Result{Applied: true, Version: 1, Ops: make([]api.OpResult, 1)}, nil
}

func (i instant) ApplyInOrder(_ context.Context, commands []shard.Command) []shard.Outcome {
	outcomes := make([]shard.Outcome, len(commands))
	for n := range outcomes {
		outcomes[n].Result = api.Result{Applied: true, Version: 1, Ops: []api.OpResult{{Applied: true}}}
	}
	return outcomes
}

func instantStore(b *testing.B) *server.Server {
	r := router.New()
	m := &pb.ClusterMap{ClusterId: "c", Revision: 1, Nodes: []*pb.Node{{Id: "a", Name: "a", Ordinal: 1}}}
	m.MetaReplicas = []*pb.Replica{{NodeId: "a", Incarnation: 1}}
	m.Shards = []*pb.Shard{{Id: 1, EndSlot: api.SlotCount, Epoch: 1, Replicas: m.MetaReplicas}}
	if _, err := r.Update(m); err != nil {
		b.Fatal(err)
	}
	local := instant{value: bytes.Repeat([]byte("v"), 256)}
	return server.New(server.Options{
		Node: "a", Router: r, Entropy: entropy.System(), Sessions: session.New(entropy.System(), clock.Real{}),
		Local: func(api.ShardID) (server.Shard, bool) { return local, true },
	})
}

// fedConn is a client that sends turns and takes in what comes.
type fedConn struct {
	net.Conn
	turn  []byte
	turns int
	sent  int
	got   bytes.Buffer // what was sent, up to a few KiB
}

func (f *fedConn) Read(p []byte) (int, error) {
	if f.turns == 0 {
		return 0, io.EOF
	}
	f.turns--
	return copy(p, f.turn), nil
}

func (f *fedConn) Write(p []byte) (int, error) {
	if f.sent++; f.got.Len() < 4<<10 {
		f.got.Write(p)
	}
	return len(p), nil
}

func (*fedConn) Close() error                     { return nil }
func (*fedConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (*fedConn) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (*fedConn) SetReadDeadline(time.Time) error  { return nil }
func (*fedConn) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkFrontEnd is what a command costs outside the shard, in time and allocations. The shard
// here costs three allocations per turn of GET, and one more per SET.
func BenchmarkFrontEnd(b *testing.B) {
	value := strings.Repeat("v", 256)
	for name, args := range map[string][]string{"GET": {"GET", "key:000000012345"}, "SET": {"SET", "key:000000012345", value}} {
		for _, depth := range []int{1, 16} {
			b.Run(fmt.Sprintf("command=%s/pipeline=%d", name, depth), func(b *testing.B) {
				s := New(Options{Store: instantStore(b)})
				defer s.Close()
				turns := b.N/depth + 1
				in := &fedConn{turn: []byte(strings.Repeat(encode(args...), depth)), turns: turns}
				b.ReportAllocs()
				c := newConn(s, in)
				s.conns.Add(1)
				b.ResetTimer()
				c.serveConn()
				b.StopTimer()
				if in.sent > turns {
					b.Fatalf("%d turns took %d writes to the client", turns, in.sent)
				}
			})
		}
	}
}
