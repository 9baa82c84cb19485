package scenarios

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lightning-db/lightning/tests/cluster"
)

// TestOrdinaryRedisClientsWork walks through the commands with clients that know nothing of Lightning DB.
func TestOrdinaryRedisClientsWork(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Args: cluster.Patient})
	for protocol := 2; protocol <= 3; protocol++ {
		client := redis.NewClient(&redis.Options{Addr: c.Nodes[protocol%3].RESP, Protocol: protocol, ClientName: "test"})
		t.Cleanup(func() { _ = client.Close() })
		prefix := fmt.Sprintf("go-redis-%d:", protocol)
		t.Run(prefix+"values", func(t *testing.T) { redisValues(t, client, prefix) })
		t.Run(prefix+"set options", func(t *testing.T) { redisSetOptions(t, client, prefix) })
		t.Run(prefix+"expiry", func(t *testing.T) { redisExpiry(t, c, client, prefix) })
		t.Run(prefix+"pipeline", func(t *testing.T) { redisPipeline(t, client, prefix) })
	}
	t.Run("scan over nodes", func(t *testing.T) { redisScan(t, c) })
	t.Run("redis-cli", func(t *testing.T) { redisCLI(t, c) })
	t.Run("inline", func(t *testing.T) { redisInline(t, c) })
}

func equal[T comparable](t *testing.T, what string, want T) func(got T, err error) {
	return func(got T, err error) {
		t.Helper()
		if got != want || err != nil {
			t.Errorf("%s: %v, %v; want %v", what, got, err, want)
		}
	}
}

func redisValues(t *testing.T, r *redis.Client, p string) {
	ctx := t.Context()
	binary := "\x00\r\n\xff binary \x00"
	equal(t, "PING", "PONG")(r.Ping(ctx).Result())
	equal(t, "PING text", "hello")(r.Do(ctx, "PING", "hello").Text())
	equal(t, "SET", "OK")(r.Set(ctx, p+"a", binary, 0).Result())
	equal(t, "GET", binary)(r.Get(ctx, p+"a").Result())
	equal(t, "SET of nothing", "OK")(r.Set(ctx, p+"empty", "", 0).Result())
	equal(t, "GET of nothing", "")(r.Get(ctx, p+"empty").Result())
	if err := r.Get(ctx, p+"absent").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("GET of an absent key: %v", err)
	}
	equal(t, "EXISTS", int64(3))(r.Exists(ctx, p+"a", p+"a", p+"empty", p+"absent").Result())
	equal(t, "DEL over shards", int64(2))(r.Del(ctx, p+"a", p+"empty", p+"absent").Result())
	equal(t, "EXISTS after DEL", int64(0))(r.Exists(ctx, p+"a", p+"empty").Result())
	equal(t, "INCR", int64(1))(r.Incr(ctx, p+"n").Result())
	equal(t, "INCRBY", int64(41))(r.IncrBy(ctx, p+"n", 40).Result())
	equal(t, "DECR", int64(40))(r.Decr(ctx, p+"n").Result())
	equal(t, "GET of a number", "40")(r.Get(ctx, p+"n").Result())
	equal(t, "SELECT 0", "OK")(r.Do(ctx, "SELECT", "0").Text())
	if info, err := r.Info(ctx).Result(); err != nil || !strings.Contains(info, "redis_version") {
		t.Errorf("INFO: %.100q, %v", info, err)
	}
	if name, err := r.ClientGetName(ctx).Result(); err != nil || name != "test" {
		t.Errorf("CLIENT GETNAME: %q, %v", name, err)
	}
	if n, err := r.DBSize(ctx).Result(); err != nil || n < 1 {
		t.Errorf("DBSIZE: %d, %v", n, err)
	}
	if commands, err := r.Command(ctx).Result(); err != nil || commands["get"] == nil {
		t.Errorf("COMMAND: %d commands, %v", len(commands), err)
	}
	if err := r.ClusterInfo(ctx).Err(); err == nil || !strings.Contains(err.Error(), "cluster support disabled") {
		t.Errorf("CLUSTER INFO: %v", err)
	}
}

func redisSetOptions(t *testing.T, r *redis.Client, p string) {
	ctx := t.Context()
	k := p + "options"
	set := func(args ...any) (any, error) {
		v, err := r.Do(ctx, append([]any{"SET", k}, args...)...).Result()
		if errors.Is(err, redis.Nil) {
			return nil, nil
		}
		return v, err
	}
	for _, step := range []struct {
		args  []any
		reply any
		value string
	}{
		{[]any{"1", "XX"}, nil, ""},
		{[]any{"1", "NX"}, "OK", "1"},
		{[]any{"2", "NX"}, nil, "1"},
		{[]any{"2", "XX"}, "OK", "2"},
		{[]any{"3", "GET"}, "2", "3"},
		{[]any{"4", "NX", "GET"}, "3", "3"},
		{[]any{"4", "xx", "get"}, "3", "4"},
		{[]any{"5", "EX", "100"}, "OK", "5"},
		{[]any{"6", "KEEPTTL"}, "OK", "6"},
	} {
		reply, err := set(step.args...)
		value, _ := r.Get(ctx, k).Result()
		if reply != step.reply || err != nil || value != step.value {
			t.Errorf("SET k %v: %v, %v and then GET %q; want %v, %q", step.args, reply, err, value, step.reply, step.value)
		}
	}
	if ttl, err := r.TTL(ctx, k).Result(); err != nil || ttl < 90*time.Second || ttl > 100*time.Second {
		t.Errorf("TTL after KEEPTTL: %v, %v", ttl, err)
	}
	_, _ = set("7")
	equal(t, "TTL after a plain SET", time.Duration(-1))(r.TTL(ctx, k).Result())
	at := time.Now().Add(50 * time.Second)
	_, _ = set("8", "PXAT", at.UnixMilli())
	if ttl, err := r.PTTL(ctx, k).Result(); err != nil || ttl < 40*time.Second || ttl > 50*time.Second {
		t.Errorf("PTTL after PXAT: %v, %v", ttl, err)
	}
	_, _ = set("9", "EXAT", time.Now().Add(-time.Hour).Unix())
	equal(t, "EXISTS after SET with a time in the past", int64(0))(r.Exists(ctx, k).Result())
}

// redisExpiry checks that what one node saw expired stays expired on all.
func redisExpiry(t *testing.T, c *cluster.Cluster, r *redis.Client, p string) {
	ctx := t.Context()
	k := p + "expiry"
	equal(t, "TTL of an absent key", time.Duration(-2))(r.TTL(ctx, k).Result())
	equal(t, "EXPIRE of an absent key", false)(r.Expire(ctx, k, time.Minute).Result())
	r.Set(ctx, k, "v", 0)
	equal(t, "TTL without expiry", time.Duration(-1))(r.TTL(ctx, k).Result())
	equal(t, "EXPIRE", true)(r.Expire(ctx, k, time.Minute).Result())
	equal(t, "PERSIST", true)(r.Persist(ctx, k).Result())
	equal(t, "TTL after PERSIST", time.Duration(-1))(r.TTL(ctx, k).Result())
	start := time.Now() // before the command: its answer may take longer than half of such a life
	equal(t, "PEXPIRE", true)(r.PExpire(ctx, k, 300*time.Millisecond).Result())
	var clients []*redis.Client
	for _, n := range c.Nodes {
		clients = append(clients, redisClient(t, n))
	}
	gone := false
	cluster.Eventually(t, 5*time.Second, "expiry", func() error {
		for _, client := range clients {
			err := client.Get(ctx, k).Err()
			switch {
			case errors.Is(err, redis.Nil):
				gone = true
			case err != nil:
				return err
			case gone:
				t.Errorf("what had expired came back")
			}
		}
		if !gone {
			return fmt.Errorf("still there")
		}
		return nil
	})
	if took := time.Since(start); took < 250*time.Millisecond {
		t.Errorf("a key with 300 ms to live expired after %v", took)
	}
}

func redisPipeline(t *testing.T, r *redis.Client, p string) {
	ctx := t.Context()
	pipe := r.Pipeline()
	for i := range 100 {
		pipe.Set(ctx, fmt.Sprintf("%spipe:%d", p, i), i, 0)
		pipe.Get(ctx, fmt.Sprintf("%spipe:%d", p, i))
	}
	replies, err := pipe.Exec(ctx)
	if err != nil || len(replies) != 200 {
		t.Fatalf("%d replies: %v", len(replies), err)
	}
	for i := range 100 {
		if got := replies[2*i+1].(*redis.StringCmd).Val(); got != fmt.Sprint(i) {
			t.Fatalf("a read after the write before it in a pipeline: %q, want %d", got, i)
		}
	}
}

// redisScan goes on with one node's cursor on another.
func redisScan(t *testing.T, c *cluster.Cluster) {
	ctx := t.Context()
	want := make(map[string]bool)
	var writers sync.WaitGroup
	for i := range 3000 {
		want[fmt.Sprintf("scan:%05d", i)] = true
	}
	for w := range 15 {
		client := redisClient(t, c.Nodes[w%3])
		writers.Go(func() {
			for i := w; i < 3000; i += 15 {
				if err := client.Set(ctx, fmt.Sprintf("scan:%05d", i), "v", 0).Err(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	got := make(map[string]bool)
	cursor, pages, duplicates := uint64(0), 0, 0
	var clients []*redis.Client
	for _, n := range c.Nodes {
		clients = append(clients, redisClient(t, n))
	}
	for {
		keys, next, err := clients[pages%3].Scan(ctx, cursor, "scan:*", 100).Result()
		if err != nil {
			t.Fatalf("page %d through %s: %v", pages, c.Nodes[pages%3].Name, err)
		}
		for _, k := range keys {
			if got[k] {
				duplicates++
			}
			got[k] = true
		}
		pages++
		if cursor = next; cursor == 0 {
			break
		}
		if pages > 2000 {
			t.Fatal("the scan does not end")
		}
	}
	say(t, "%d keys in %d pages over three nodes, %d seen twice", len(got), pages, duplicates)
	if !maps.Equal(got, want) {
		t.Errorf("%d keys, want %d", len(got), len(want))
	}
	if n, err := redisClient(t, c.Nodes[1]).DBSize(ctx).Result(); err != nil || n < 3000 {
		t.Errorf("DBSIZE %d, %v", n, err)
	}
}

func redisCLI(t *testing.T, c *cluster.Cluster) {
	if _, err := exec.LookPath("redis-cli"); err != nil {
		t.Skip("redis-cli is not installed")
	}
	host, port, _ := net.SplitHostPort(c.Nodes[2].RESP)
	for _, step := range []struct {
		args []string
		want string
	}{
		{[]string{"PING"}, "PONG"},
		{[]string{"-3", "SET", "cli", "value"}, "OK"},
		{[]string{"GET", "cli"}, "value"},
		{[]string{"-3", "GET", "cli"}, "value"},
		{[]string{"SET", "cli", "2", "EX", "100", "GET"}, "value"},
		{[]string{"INCR", "cli"}, "3"},
		{[]string{"EXPIRE", "cli", "50"}, "1"},
		{[]string{"DEL", "cli"}, "1"},
		{[]string{"TTL", "cli"}, "-2"},
		{[]string{"GET", "cli"}, ""},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		out, err := exec.CommandContext(ctx, "redis-cli", slices.Concat([]string{"-h", host, "-p", port}, step.args)...).CombinedOutput()
		cancel()
		if got := strings.TrimSpace(string(out)); got != step.want || err != nil {
			t.Errorf("redis-cli %v: %q, %v; want %q", step.args, got, err, step.want)
		}
	}
	out, err := exec.Command("redis-cli", "-h", host, "-p", port, "--scan", "--pattern", "scan:0000*").CombinedOutput()
	if n := len(strings.Fields(string(out))); n != 10 || err != nil {
		t.Errorf("redis-cli --scan: %d keys, %v", n, err)
	}
}

// redisInline is what people type into telnet and what health checks send.
func redisInline(t *testing.T, c *cluster.Cluster) {
	conn := respConn(t, c.Nodes[0].RESP)
	_, _ = fmt.Fprintf(conn, "PING\r\n")
	if got := string(readSome(t, conn)); got != "+PONG\r\n" {
		t.Errorf("inline PING: %q", got)
	}
}
