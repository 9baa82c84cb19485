package lightningtest_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/lightningtest"
)

// redis is a connection to a node by the Redis protocol.
type redis struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func dialRedis(t *testing.T, address string) *redis {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &redis{t, conn, bufio.NewReader(conn)}
}

func (r *redis) send(args ...string) {
	r.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := io.WriteString(r.conn, b.String()); err != nil {
		r.t.Error(err)
	}
}

// reply reads one reply: a line, or the bytes of a bulk.
func (r *redis) reply() string {
	r.t.Helper()
	line, err := r.in.ReadString('\n')
	if err != nil {
		r.t.Fatal(err)
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line[0] != '$' || line == "$-1" {
		return line
	}
	n, err := strconv.Atoi(line[1:])
	if err != nil {
		r.t.Fatal(err)
	}
	bulk := make([]byte, n+2)
	if _, err := io.ReadFull(r.in, bulk); err != nil {
		r.t.Fatal(err)
	}
	return string(bulk[:n])
}

// do sends a command until it was executed: on a machine that is busy enough a leadership moves in the middle of one.
func (r *redis) do(args ...string) string {
	r.t.Helper()
	for began := time.Now(); ; {
		r.send(args...)
		got := r.reply()
		again := strings.HasPrefix(got, "-UNAVAILABLE ") || strings.HasPrefix(got, "-TIMEOUT ") || strings.HasPrefix(got, "-OVERLOADED ")
		if !again || time.Since(began) > hang {
			return got
		}
	}
}

// One cluster takes the largest value by each face, and refuses one that is a byte longer.
func TestTheLargestValueByEveryFace(t *testing.T) {
	c := lightningtest.Start(t, 3)
	t.Run("resp", func(t *testing.T) { largestByRESP(t, c) })
	t.Run("resp, several", func(t *testing.T) { longByRESP(t, c) })
	t.Run("http", func(t *testing.T) { largestByHTTP(t, c) })
	t.Run("sdk", func(t *testing.T) { largestBySDK(t, c) })
}

// By the Redis protocol, at a node that does not lead the key.
func largestByRESP(t *testing.T, c *lightningtest.Cluster) {
	value := string(longValue(1, largestBytes))
	r := dialRedis(t, c.RedisAddresses()[(c.Leader("{k}")+1)%3])
	if got := r.do("SET", "{k}", strings.Repeat("x", api.MaxValueBytes+1)); !strings.HasPrefix(got, "-ERR ") || !strings.Contains(got, strconv.Itoa(api.MaxValueBytes)) {
		t.Fatalf("one byte more: %.200s", got)
	}
	if got := r.do("SET", "{k}", value); got != "+OK" {
		t.Fatalf("set: %.200s", got)
	}
	if got := r.do("GET", "{k}"); got != value {
		t.Fatalf("get: %d bytes, %.100q", len(got), got)
	}
	for command, want := range map[string]string{
		"STRLEN {k}": fmt.Sprint(":", len(value)), "EXISTS {k}": ":1", "TTL {k}": ":-1", "TYPE {k}": "+string", "OBJECT ENCODING {k}": "raw",
		"GETRANGE {k} 262140 524300": value[262140:524301], "GETRANGE {k} -5 -1": value[len(value)-5:], "PERSIST {k}": ":0",
	} {
		if got := r.do(strings.Fields(command)...); got != want {
			t.Errorf("%s: %d bytes, %.100q", command, len(got), got)
		}
	}
	for _, command := range []string{"APPEND {k} x", "GETDEL {k}", "COPY {k} {k}2", "BITCOUNT {k}", "SETRANGE {k} 0 x", "SETBIT {k} 1 1"} {
		if got := r.do(strings.Fields(command)...); !strings.HasPrefix(got, "-ERR ") {
			t.Errorf("%s: %.200q", command, got)
		}
	}
}

// At a node that leads the key and at one that does not.
func longByRESP(t *testing.T, c *lightningtest.Cluster) {
	value := string(longValue(3, api.MaxWholeBytes+1))
	for _, at := range []int{c.Leader("{k}"), (c.Leader("{k}") + 1) % 3} {
		r := dialRedis(t, c.RedisAddresses()[at])
		if got := r.do("MSET", "{k}a", "small", "{k}b", value[:len(value)/2], "{k}", value); got != "+OK" {
			t.Fatalf("mset: %.200s", got)
		}
		r.send("GET", "{k}a") // a pipeline
		r.send("MGET", "{k}a", "{k}b", "{k}none", "{k}")
		r.send("PING")
		for i, want := range []string{"small", "*4", "small", value[:len(value)/2], "$-1", value, "+PONG"} {
			if got := r.reply(); got != want {
				t.Fatalf("reply %d: %d bytes, %.100q", i, len(got), got)
			}
		}
		if got := r.do("RENAME", "{k}", "{k}c"); got != "+OK" {
			t.Fatal(got)
		}
		if got := r.do("GET", "{k}c"); got != value {
			t.Fatalf("get: %d bytes, %.100q", len(got), got)
		}
		if got := r.do("DEL", "{k}b", "{k}c", "{k}"); got != ":2" {
			t.Fatal(got)
		}
	}
}

func largestByHTTP(t *testing.T, c *lightningtest.Cluster) {
	value := longValue(2, largestBytes)
	do := func(method string, body []byte, accept string) (int, []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+c.HTTPAddresses()[(c.Leader("k")+1)%3]+"/v1/kv/k", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", accept)
		// As curl does with a long body: who is refused has not sent it, and sees why.
		req.Header.Set("Expect", "100-continue")
		res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: time.Minute}}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, text
	}
	if code, text := do("PUT", make([]byte, api.MaxValueBytes+1), ""); code != 413 {
		t.Fatalf("one byte more than the limit: %d %s", code, text)
	}
	if code, text := do("PUT", value, ""); code != 200 {
		t.Fatalf("put: %d %s", code, text)
	}
	if code, got := do("GET", nil, "application/octet-stream"); code != 200 || !bytes.Equal(got, value) {
		t.Errorf("get: %d, %d bytes", code, len(got))
	}
	if code, text := do("GET", nil, "application/json"); code != 413 || !bytes.Contains(text, []byte("octet-stream")) {
		t.Errorf("as JSON: %d %s", code, text)
	}
}

// Who reads while others overwrite gets one of the values as a whole.
func TestAValueThatIsOverwrittenWhileItIsReadIsOneVersion(t *testing.T) {
	c := lightningtest.Start(t, 3)
	const size, rounds = 3 << 20, 12
	ctx, cancel := context.WithTimeout(t.Context(), hang) // which the calls have, too
	var writers sync.WaitGroup
	defer writers.Wait()
	defer cancel()
	first := c.Client(t)
	if _, err := client.Put(ctx, first, 0, []byte("k"), bytes.Repeat([]byte{1}, size), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	for w := range 2 {
		kv := c.Client(t)
		writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				_, err := client.Put(ctx, kv, 0, []byte("k"), bytes.Repeat([]byte{byte(2*n + w)}, size+n), client.PutOptions{})
				if err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range rounds {
		r := dialRedis(t, c.RedisAddresses()[i%3])
		got := r.do("GET", "k")
		if len(got) < size || strings.Trim(got, got[:1]) != "" {
			t.Fatalf("round %d: %d bytes of several versions, or %.100q", i, len(got), got)
		}
		r.conn.Close()
	}
}

// BenchmarkSmallPutsBesideLargeOnes tells what a put of 100 bytes waits while two writers put values of
// 8 MiB on the same shard.
func BenchmarkSmallPutsBesideLargeOnes(b *testing.B) {
	c := lightningtest.Start(b, 3)
	for _, writers := range []int{0, 2} {
		b.Run(fmt.Sprint("large=", writers), func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			var large sync.WaitGroup
			var bytes int64
			var mu sync.Mutex
			for w := range writers {
				kv := c.Client(b)
				large.Go(func() {
					for ctx.Err() == nil {
						if _, err := client.Put(ctx, kv, 0, fmt.Append(nil, "{k}large", w), longValue(byte(w), 8<<20), client.PutOptions{}); err == nil {
							mu.Lock()
							bytes += 8 << 20
							mu.Unlock()
						}
					}
				})
			}
			kv := c.Client(b)
			var took []time.Duration
			began := time.Now()
			for b.Loop() {
				at := time.Now()
				if _, err := client.Put(ctx, kv, 0, []byte("{k}small"), make([]byte, 100), client.PutOptions{}); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(at))
			}
			elapsed := time.Since(began)
			cancel()
			large.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(bytes)/elapsed.Seconds()/(1<<20), "MiB/s-large")
		})
	}
}
