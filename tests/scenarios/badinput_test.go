package scenarios

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/tests/cluster"
)

// TestBadInputIsRefusedAndHarmsNobody runs all of it against one cluster: what one does must not spoil another.
func TestBadInputIsRefusedAndHarmsNobody(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Args: cluster.Patient})
	pids := make(map[string]int)
	for _, n := range c.Nodes {
		pids[n.Name] = n.PID()
	}
	healthy := func(t *testing.T, after string) {
		t.Helper()
		mustServe(t, "after "+after, c.Nodes)
		for _, n := range c.Nodes {
			if n.PID() != pids[n.Name] {
				t.Fatalf("%s ended after %s:\n%s", n.Name, after, n.LogTail(3000))
			}
		}
	}
	t.Run("RESP limits", func(t *testing.T) { oversizedByRESP(t, c); healthy(t, "oversized RESP") })
	t.Run("gRPC limits", func(t *testing.T) { oversizedByGRPC(t, c); healthy(t, "oversized gRPC") })
	t.Run("RESP nonsense", func(t *testing.T) { nonsenseByRESP(t, c); healthy(t, "RESP nonsense") })
	t.Run("garbage", func(t *testing.T) { garbageOnEveryPort(t, c); healthy(t, "garbage") })
	for _, n := range c.Nodes {
		mib := residentMiB(t, n)
		say(t, "%s holds %d MiB afterwards", n.Name, mib)
		if mib > 1024 {
			t.Errorf("%s holds %d MiB", n.Name, mib)
		}
	}
}

// namesLimit reports whether a message names a limit, in bytes or in words.
func namesLimit(text string, limit int) bool {
	for _, form := range []string{strconv.Itoa(limit), fmt.Sprintf("%d KiB", limit>>10), fmt.Sprintf("%d MiB", limit>>20)} {
		if strings.Contains(text, form) {
			return true
		}
	}
	return false
}

func oversizedByRESP(t *testing.T, c *cluster.Cluster) {
	client := redisClient(t, c.Nodes[0])
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	largestKey, largestValue := strings.Repeat("k", api.MaxKeyBytes), strings.Repeat("v", api.MaxValueBytes)
	if err := client.Set(ctx, largestKey, largestValue, 0).Err(); err != nil {
		t.Errorf("the largest key and value were refused: %v", err)
	}
	if got, err := redisClient(t, c.Nodes[1]).Get(ctx, largestKey).Result(); got != largestValue {
		t.Errorf("the largest value came back with %d bytes: %v", len(got), err)
	}
	for what, err := range map[string]error{
		"key":   client.Set(ctx, largestKey+"k", "v", 0).Err(),
		"value": client.Set(ctx, "k", largestValue+"v", 0).Err(),
	} {
		limit := map[string]int{"key": api.MaxKeyBytes, "value": api.MaxValueBytes}[what]
		if err == nil || !strings.HasPrefix(err.Error(), "ERR") || !namesLimit(err.Error(), limit) {
			t.Errorf("%s one byte too large: %v", what, err)
		}
		say(t, "%s one byte too large: %v", what, err)
	}
	if err := client.Set(ctx, "", "v", 0).Err(); err == nil {
		t.Error("the empty key was accepted")
	}
	if err := client.Get(ctx, "k").Err(); err == nil {
		t.Error("the refused value is there")
	}
	// Far too large: the connection may be closed, after an error.
	huge := respConn(t, c.Nodes[0].RESP)
	_, _ = fmt.Fprintf(huge, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2000000000\r\n")
	if reply := readSome(t, huge); !bytes.HasPrefix(reply, []byte("-ERR")) {
		t.Errorf("a bulk string of 2 GB: %q", reply)
	}
}

func oversizedByGRPC(t *testing.T, c *cluster.Cluster) {
	kv := grpcClient(t, c.Nodes[0]).KV
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	key, value := bytes.Repeat([]byte("k"), api.MaxKeyBytes+1), bytes.Repeat([]byte("v"), api.MaxWholeBytes+1)
	tail := &pb.BatchRequest{Ops: []*pb.Op{{Kind: pb.OpKind_OP_KIND_APPEND, Key: []byte("k"), Value: value}}}
	many := &pb.BatchRequest{}
	for i := range api.MaxBatchOps + 1 {
		many.Ops = append(many.Ops, &pb.Op{Kind: pb.OpKind_OP_KIND_PUT, Key: []byte("{b}" + strconv.Itoa(i))})
	}
	heavy := &pb.BatchRequest{}
	for i := range api.MaxInlineBatchBytes / (api.MinStagedBytes - 1) {
		heavy.Ops = append(heavy.Ops, &pb.Op{Kind: pb.OpKind_OP_KIND_PUT, Key: []byte("{b}" + strconv.Itoa(i)), Value: value[:api.MinStagedBytes-1]})
	}
	for _, try := range []struct {
		what  string
		limit int
		code  api.Code
		call  func() error
	}{
		{"key", api.MaxKeyBytes, api.CodeTooLarge, func() error { _, err := kv.Put(ctx, &pb.PutRequest{Key: key}); return err }},
		{"key of a read", api.MaxKeyBytes, api.CodeTooLarge, func() error { _, err := kv.Get(ctx, &pb.GetRequest{Key: key}); return err }},
		{"value to append", api.MaxWholeBytes, api.CodeTooLarge, func() error { _, err := kv.Batch(ctx, tail); return err }},
		{"operations of a batch", api.MaxBatchOps, api.CodeTooLarge, func() error { _, err := kv.Batch(ctx, many); return err }},
		{"small values of a batch", api.MaxInlineBatchBytes, api.CodeTooLarge, func() error { _, err := kv.Batch(ctx, heavy); return err }},
		{"empty key", 0, api.CodeInvalid, func() error { _, err := kv.Put(ctx, &pb.PutRequest{Value: []byte("v")}); return err }},
		{"empty batch", 0, api.CodeInvalid, func() error { _, err := kv.Batch(ctx, &pb.BatchRequest{}); return err }},
		{"operation of no kind", 0, api.CodeInvalid, func() error {
			_, err := kv.Batch(ctx, &pb.BatchRequest{Ops: []*pb.Op{{Key: []byte("k")}}})
			return err
		}},
		{"namespace that does not exist", 0, api.CodeInvalid, func() error { _, err := kv.Put(ctx, &pb.PutRequest{Namespace: 7, Key: []byte("k")}); return err }},
		{"keys of two shards", 0, api.CodeCrossShard, func() error {
			_, err := kv.Batch(ctx, &pb.BatchRequest{Ops: []*pb.Op{{Kind: 1, Key: []byte("a")}, {Kind: 1, Key: []byte("b")}, {Kind: 1, Key: []byte("c")}, {Kind: 1, Key: []byte("d")}}})
			return err
		}},
	} {
		err := api.FromStatus(try.call(), true)
		var typed *api.Error
		if !errors.As(err, &typed) || typed.Code != try.code || (try.limit > 0 && !namesLimit(err.Error(), try.limit)) {
			t.Errorf("%s: %v", try.what, err)
		}
		say(t, "%s: %v", try.what, err)
	}
	// Beyond one gRPC message: refused by the library, but as an error of the call, not of the node.
	if _, err := kv.Put(ctx, &pb.PutRequest{Key: []byte("k"), Value: make([]byte, api.MaxMessageBytes+1)}); err == nil {
		t.Error("a message beyond the limit was accepted")
	}
	if _, err := kv.Get(ctx, &pb.GetRequest{Key: []byte("k")}); err != nil {
		t.Errorf("the connection does not work any more: %v", err)
	}
}

// nonsenseByRESP sends commands that are wrong but well formed: an error each, and the connection goes on.
func nonsenseByRESP(t *testing.T, c *cluster.Cluster) {
	client := redisClient(t, c.Nodes[0])
	client.Set(t.Context(), "word", "abc", 0)
	for _, args := range [][]any{
		{"NOSUCHCOMMAND"}, {"GET"}, {"GET", "a", "b"}, {"SET", "k"}, {"SET", "k", "v", "EX"}, {"SET", "k", "v", "EX", "0"},
		{"SET", "k", "v", "EX", "abc"}, {"SET", "k", "v", "NX", "XX"}, {"SET", "k", "v", "EX", "10", "KEEPTTL"}, {"SET", "k", "v", "BOGUS"},
		{"INCR", "word"}, {"INCRBY", "n", "9223372036854775808"}, {"EXPIRE", "k", "abc"}, {"SELECT", "99999"}, {"SELECT", "x"},
		{"SCAN", "abc"}, {"SCAN", "0", "COUNT", "0"}, {"SCAN", "0", "BOGUS"}, {"HELLO", "9"}, {"CLIENT", "BOGUS"}, {"CLUSTER", "SLOTS"},
	} {
		err := client.Do(t.Context(), args...).Err()
		if err == nil || !strings.Contains(err.Error(), "ERR") && !strings.Contains(err.Error(), "NOPROTO") {
			t.Errorf("%v: %v", args, err)
		}
		if err := client.Ping(t.Context()).Err(); err != nil {
			t.Errorf("PING after %v: %v", args, err)
		}
	}
}

func respConn(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, recovery)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func readSome(t *testing.T, conn net.Conn) []byte {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(recovery))
	buf := make([]byte, 4096)
	n, _ := conn.Read(buf)
	return buf[:n]
}

// garbageOnEveryPort sends what no client sends, by many connections, some of which then just stay.
func garbageOnEveryPort(t *testing.T, c *cluster.Cluster) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	preface := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	pieces := [][]byte{
		random(1), random(100), random(100_000), {0}, []byte("\r\n\r\n\r\n"),
		[]byte("*1000000000\r\n"), []byte("*-7\r\n"), []byte("*2\r\n$-5\r\nGET\r\n"), []byte("$99999999999999999999\r\n"),
		[]byte("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nab"), []byte(strings.Repeat("*1\r\n", 50_000)), []byte(strings.Repeat("x", 200_000)),
		[]byte("GET / HTTP/1.1\r\n\r\n"), []byte("POST /readyz HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"), []byte("GET /" + strings.Repeat("a", 2_000_000)),
		[]byte(preface), []byte(preface + strings.Repeat("\xff", 10_000)), append([]byte(preface), random(10_000)...),
		append([]byte(preface), 0, 0xff, 0xff, 4, 0, 0, 0, 0, 0),
	}
	for _, n := range c.Nodes {
		for _, address := range []string{n.RESP, n.GRPC, n.HTTP, n.Addr} {
			for _, piece := range pieces {
				conn := respConn(t, address)
				_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
				_, _ = conn.Write(piece)
				if rng.IntN(2) == 0 {
					_ = conn.Close()
				}
			}
		}
		packets, err := net.Dial("udp", n.Addr)
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			_, _ = packets.Write(random(1 + rng.IntN(1400)))
		}
		_ = packets.Close()
	}
	for _, n := range c.Nodes {
		cluster.Eventually(t, recovery, n.Name+" sees three nodes alive after garbage on the gossip port", func() error {
			status, err := n.Status(t.Context())
			if err != nil || len(status.GetMap().GetNodes()) != 3 {
				return fmt.Errorf("%d nodes: %w", len(status.GetMap().GetNodes()), err)
			}
			for _, peer := range status.GetNodes() {
				if peer.Liveness != "alive" {
					return fmt.Errorf("%s is %s", peer.NodeId, peer.Liveness)
				}
			}
			return nil
		})
	}
}

func residentMiB(t *testing.T, n *cluster.Node) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kib >> 10
		}
	}
	return 0
}
