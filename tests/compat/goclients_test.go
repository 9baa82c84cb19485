package compat

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/lightning-db/lightning/tests/cluster"
)

// patience is what a client waits for an answer on a busy machine; the libraries' own is 3 to 10 s.
const patience = 30 * time.Second

const binary = "\x00\r\n\xff binary \x00"

func goRedisNode(t *testing.T, s server) {
	for protocol := 2; protocol <= 3; protocol++ {
		client := redis.NewClient(&redis.Options{Addr: s.address, Password: s.password, Protocol: protocol, ReadTimeout: patience})
		goRedis(t, client, fmt.Sprintf("go-redis:%d:", protocol))
	}
}

func goRedisCluster(t *testing.T, s server) {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{s.address}, Password: s.password, ReadTimeout: patience})
	goRedis(t, client, "go-redis:cluster:")
	shards := 0
	err := client.ForEachMaster(t.Context(), func(ctx context.Context, r *redis.Client) error {
		shards++
		return r.Ping(ctx).Err()
	})
	if err != nil || shards == 0 {
		t.Errorf("%d leaders answer: %v", shards, err)
	}
	reader := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{s.address}, Password: s.password, ReadTimeout: patience, ReadOnly: true, RouteRandomly: true})
	t.Cleanup(func() { _ = reader.Close() })
	cluster.Eventually(t, patience, "a replica has what was written, within the bound", func() error {
		got, err := reader.Get(t.Context(), "go-redis:cluster:a").Result()
		if err == nil && got != binary {
			err = fmt.Errorf("got %q", got)
		}
		return err
	})
}

func goRedis(t *testing.T, r redis.UniversalClient, p string) {
	t.Cleanup(func() { _ = r.Close() })
	ctx := t.Context()
	equal(t, "PING", "PONG")(r.Ping(ctx).Result())
	equal(t, "SET", "OK")(r.Set(ctx, p+"a", binary, 0).Result())
	equal(t, "GET", binary)(r.Get(ctx, p+"a").Result())
	if err := r.Get(ctx, p+"absent").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("GET of no key: %v", err)
	}
	equal(t, "INCR", int64(1))(r.Incr(ctx, p+"n").Result())

	pipe := r.Pipeline()
	for i := range 200 {
		pipe.Set(ctx, fmt.Sprint(p, i), i, 0)
		pipe.Get(ctx, fmt.Sprint(p, i))
	}
	replies, err := pipe.Exec(ctx)
	if err != nil || len(replies) != 400 {
		t.Fatalf("%d replies to a pipeline: %v", len(replies), err)
	}
	for i := range 200 {
		equal(t, "a read behind its write in a pipeline", fmt.Sprint(i))(replies[2*i+1].(*redis.StringCmd).Result())
	}

	r.Set(ctx, p+"short", "v", 100*time.Millisecond)
	cluster.Eventually(t, patience, "a key with 100 ms to live expires", func() error {
		if err := r.Get(ctx, p+"short").Err(); !errors.Is(err, redis.Nil) {
			return fmt.Errorf("GET: %v", err)
		}
		return nil
	})

	key, other := "{"+p+"}balance", "{"+p+"}log"
	results, err := r.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Set(ctx, key, 5, 0)
		pipe.IncrBy(ctx, key, 2)
		pipe.Append(ctx, other, "x")
		return nil
	})
	if err != nil || len(results) != 3 || results[1].(*redis.IntCmd).Val() != 7 {
		t.Errorf("MULTI: %v, %v", results, err)
	}
	watch := func(between func()) error {
		return r.Watch(ctx, func(tx *redis.Tx) error {
			seen, err := tx.Get(ctx, key).Int()
			if err != nil {
				return err
			}
			between()
			_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Set(ctx, key, seen*2, 0).Err() })
			return err
		}, key)
	}
	if err := watch(func() {}); err != nil {
		t.Errorf("WATCH of a key that nobody changes: %v", err)
	}
	equal(t, "GET after EXEC", "14")(r.Get(ctx, key).Result())
	if err := watch(func() { r.Incr(ctx, key) }); !errors.Is(err, redis.TxFailedErr) {
		t.Errorf("WATCH of a key that changes: %v", err)
	}
	equal(t, "GET after the refused EXEC", "15")(r.Get(ctx, key).Result())
}

func rueidisNode(t *testing.T, s server)    { useRueidis(t, s, "rueidis:") }
func rueidisCluster(t *testing.T, s server) { useRueidis(t, s, "rueidis:cluster:") }

// useRueidis leaves it to the library to find out which kind of listener it talks to. There is no
// cache on the client's side, because a node does not tell clients what changed.
func useRueidis(t *testing.T, s server, p string) {
	r, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.address}, Password: s.password, ConnWriteTimeout: patience, DisableCache: true})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(r.Close)
	ctx := t.Context()
	build := r.B
	equal(t, "PING", "PONG")(r.Do(ctx, build().Ping().Build()).ToString())
	equal(t, "SET", "OK")(r.Do(ctx, build().Set().Key(p+"a").Value(binary).Build()).ToString())
	equal(t, "GET", binary)(r.Do(ctx, build().Get().Key(p+"a").Build()).ToString())
	if err := r.Do(ctx, build().Get().Key(p+"absent").Build()).Error(); !rueidis.IsRedisNil(err) {
		t.Errorf("GET of no key: %v", err)
	}
	var many []rueidis.Completed
	for i := range 200 {
		many = append(many, build().Set().Key(fmt.Sprint(p, i)).Value(fmt.Sprint(i)).Build(), build().Get().Key(fmt.Sprint(p, i)).Build())
	}
	for i, reply := range r.DoMulti(ctx, many...) {
		want := "OK"
		if i%2 == 1 {
			want = fmt.Sprint(i / 2)
		}
		equal(t, "pipeline", want)(reply.ToString())
	}
	r.Do(ctx, build().Set().Key(p+"short").Value("v").Px(100*time.Millisecond).Build())
	cluster.Eventually(t, patience, "a key with 100 ms to live expires", func() error {
		if err := r.Do(ctx, build().Get().Key(p+"short").Build()).Error(); !rueidis.IsRedisNil(err) {
			return fmt.Errorf("GET: %v", err)
		}
		return nil
	})
	err = r.Dedicated(func(d rueidis.DedicatedClient) error {
		key := "{" + p + "}t"
		replies := d.DoMulti(ctx, d.B().Multi().Build(), d.B().Set().Key(key).Value("1").Build(),
			d.B().Incr().Key(key).Build(), d.B().Exec().Build())
		got, err := replies[3].ToArray()
		if err != nil || len(got) != 2 {
			return fmt.Errorf("EXEC: %v, %w", got, err)
		}
		equal(t, "INCR in a block", int64(2))(got[1].AsInt64())
		return nil
	})
	if err != nil {
		t.Errorf("MULTI: %v", err)
	}
	if kind := fmt.Sprintf("%T", r); strings.Contains(p, "cluster") != strings.Contains(kind, "cluster") {
		t.Errorf("rueidis takes the listener for the kind that needs a %s", kind)
	}
}
