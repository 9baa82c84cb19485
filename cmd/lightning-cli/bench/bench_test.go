package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/internal/fakecluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is a target in memory that takes some time.
type store struct {
	delay func(operation uint64) time.Duration
	fail  func(operation uint64) error

	mu    sync.Mutex
	count uint64
	kinds [kindCount]int
	keys  map[string]int
}

func (s *store) Name() string          { return "a store in memory" }
func (s *store) Pipelines() bool       { return true }
func (s *store) Code(err error) string { return string(api.CodeOf(err)) }

func (s *store) Do(ctx context.Context, round []Operation, outcomes []error) {
	s.mu.Lock()
	if s.keys == nil {
		s.keys = make(map[string]int)
	}
	var wait time.Duration
	for i, op := range round {
		s.count++
		s.kinds[op.Kind]++
		s.keys[op.Key]++
		outcomes[i] = nil
		if s.delay != nil {
			wait = max(wait, s.delay(s.count))
		}
		if s.fail != nil {
			outcomes[i] = s.fail(s.count)
		}
	}
	s.mu.Unlock()
	if wait > 0 {
		pause(ctx, wait)
	}
	if ctx.Err() != nil {
		for i := range outcomes {
			outcomes[i] = api.Errorf(api.CodeExpired, "late")
		}
	}
}

func options() Options {
	return Options{
		Workload: Set, Distribution: Uniform, Clients: 4, Pipeline: 1, ValueBytes: 8, KeyCount: 100, KeyPrefix: "bench:",
		Duration: 10 * time.Second, Seed: 1, Timeout: time.Second,
	}
}

func TestEverySecondOfTheRunIsCountedAndNoneOfTheWarmUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.WarmUp = 5 * time.Second
		s := &store{delay: func(uint64) time.Duration { return 10 * time.Millisecond }}
		r, err := Run(t.Context(), o, s)
		if err != nil {
			t.Fatal(err)
		}
		if r.All.Operations != 4*1000 || r.All.PerSecond < 399 || r.All.PerSecond > 401 {
			t.Errorf("%d operations, %.1f/s, want 4000 and 400/s", r.All.Operations, r.All.PerSecond)
		}
		if r.All.P50 < 9.6 || r.All.P50 > 10.4 || r.All.Max != 10 || r.All.Mean != 10 {
			t.Errorf("latency %+v, want 10 ms throughout", r.All)
		}
	})
}

func TestTheCountEndsARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.Count, o.Pipeline = 1003, 10
		r, err := Run(t.Context(), o, &store{delay: func(uint64) time.Duration { return time.Millisecond }})
		if err != nil || r.All.Operations != 1003 {
			t.Fatalf("%v, %+v", err, r)
		}
	})
}

func TestAStoreThatHangsDoesNotHoldTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := &store{delay: func(n uint64) time.Duration {
			if n == 1 {
				return 0
			}
			return time.Hour
		}}
		r, err := Run(t.Context(), options(), s)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 12*time.Second {
			t.Errorf("took %s", took)
		}
		if r.All.Operations != 0 || r.Failed == 0 || r.Errors[string(api.CodeExpired)] != r.Failed {
			t.Errorf("got %+v", r)
		}
	})
}

func TestErrorsAreCountedByCodeAndHaveNoLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{
			delay: func(uint64) time.Duration { return 10 * time.Millisecond },
			fail: func(n uint64) error {
				if n%2 == 0 {
					return api.Errorf(api.CodeOverloaded, "slow down")
				}
				return nil
			},
		}
		o := options()
		o.Count, o.Clients = 100, 1
		r, err := Run(t.Context(), o, s)
		if err != nil {
			t.Fatal(err)
		}
		if r.All.Operations != 50 || r.Errors["OVERLOADED"] != 50 || r.Failed != 50 {
			t.Errorf("got %+v", r)
		}
		if text := r.Text(); !strings.Contains(text, "errors      50\n  OVERLOADED           50") {
			t.Errorf("got %s", text)
		}
	})
}

func TestAStoreThatDoesNotAnswerIsAnError(t *testing.T) {
	s := &store{fail: func(uint64) error { return api.Errorf(api.CodeUnavailable, "nobody there") }}
	if _, err := Run(t.Context(), options(), s); !errors.Is(err, api.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	if s.count != 1 {
		t.Fatalf("%d operations", s.count)
	}
}

func TestMixedReadsFourTimesOfFive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.Workload, o.Count = Mixed, 10000
		s := &store{delay: func(uint64) time.Duration { return time.Millisecond }}
		r, err := Run(t.Context(), o, s)
		if err != nil {
			t.Fatal(err)
		}
		if reads := r.ByKind["get"].Operations; reads < 7800 || reads > 8200 {
			t.Errorf("%d of 10000 are reads", reads)
		}
		if len(s.keys) != o.KeyCount {
			t.Errorf("%d keys, want all %d filled", len(s.keys), o.KeyCount)
		}
	})
}

func TestZipfHasHotKeysAndUniformHasNone(t *testing.T) {
	for distribution, want := range map[Distribution][2]int{Zipf: {1000, 5000}, Uniform: {1, 300}} {
		synctest.Test(t, func(t *testing.T) {
			o := options()
			o.Distribution, o.Count = distribution, 10000
			s := &store{delay: func(uint64) time.Duration { return time.Millisecond }}
			if _, err := Run(t.Context(), o, s); err != nil {
				t.Fatal(err)
			}
			hottest := 0
			for _, n := range s.keys {
				hottest = max(hottest, n)
			}
			if hottest < want[0] || hottest > want[1] {
				t.Errorf("%s: the hottest key has %d of 10000, want %v", distribution, hottest, want)
			}
		})
	}
}

func TestOptionsWithoutBoundsAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"no duration": func(o *Options) { o.Duration = 0 }, "a day": func(o *Options) { o.Duration = 24 * time.Hour },
		"no clients": func(o *Options) { o.Clients = 0 }, "a crowd": func(o *Options) { o.Clients = MaxClients + 1 },
		"no pipeline": func(o *Options) { o.Pipeline = 0 }, "no keys": func(o *Options) { o.KeyCount = 0 },
		"huge rounds": func(o *Options) { o.Pipeline, o.ValueBytes = 100, 1<<20 }, "no timeout": func(o *Options) { o.Timeout = 0 },
		"workload": func(o *Options) { o.Workload = "sort" }, "distribution": func(o *Options) { o.Distribution = "normal" },
		"a long count": func(o *Options) { o.Count = MaxCount + 1 }, "negative warm-up": func(o *Options) { o.WarmUp = -1 },
		"expiry": func(o *Options) { o.TTL = 1 },
	} {
		o := options()
		change(&o)
		if _, err := Run(t.Context(), o, &store{}); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestQuantilesAreWithinThreePercent(t *testing.T) {
	const seed = 7
	random := rand.New(rand.NewPCG(seed, 0))
	var h histogram
	for range 100000 {
		h.add(time.Duration(random.Uint64N(uint64(time.Second))), 1)
	}
	for _, q := range []float64{0.01, 0.5, 0.95, 0.99} {
		want := q * float64(time.Second)
		if got := float64(h.quantile(q)); got < want*0.96 || got > want*1.04 {
			t.Errorf("seed %d: %v is %s, want about %s", seed, q, time.Duration(got), time.Duration(want))
		}
	}
	for n := uint64(1); n < 1<<62; n += n/8 + 1 {
		bucket := bucketOf(n)
		if top := bucketTop(bucket); top < n || float64(top) > float64(n)*(1+1.0/subBuckets) {
			t.Fatalf("%d is in bucket %d, which ends at %d", n, bucket, top)
		}
	}
}

func TestLightningIsMeasuredByTheSDK(t *testing.T) {
	cluster := fakecluster.New(3)
	defer cluster.Close()
	c, err := client.New(client.Options{Addresses: cluster.Addresses(), Dialer: cluster.Dial})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, w := range []Workload{Set, Get, Mixed, Increment} {
		o := options()
		o.Workload, o.Count = w, 200
		r, err := Run(t.Context(), o, Lightning(c, "node-0:8379"))
		if err != nil || r.All.Operations != 200 || r.Failed != 0 {
			t.Errorf("%s: %v, %+v", w, err, r)
		}
	}
}

// redisServer answers OK to SET, $1 to GET and a busy error to INCR.
func redisServer(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { answer(conn) })
		}
	})
	t.Cleanup(func() { listener.Close(); conns.Wait() })
	return listener.Addr().String()
}

func answer(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		var words, size int
		if _, err := fmt.Fscanf(in, "*%d\r\n", &words); err != nil {
			return
		}
		var command []string
		for range words {
			if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
				return
			}
			word := make([]byte, size+2)
			if _, err := io.ReadFull(in, word); err != nil {
				return
			}
			command = append(command, string(word[:size]))
		}
		reply := map[string]string{"set": "+OK\r\n", "get": "$1\r\nx\r\n", "incr": "-BUSY later\r\n"}[strings.ToLower(command[0])]
		if reply == "" {
			reply = "-ERR unknown command\r\n"
		}
		if _, err := io.WriteString(conn, reply); err != nil {
			return
		}
	}
}

func TestRedisIsMeasuredWithAndWithoutPipelines(t *testing.T) {
	address := redisServer(t)
	c, err := DialRedis(RedisOptions{Addresses: []string{address}, Clients: 4, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, pipeline := range []int{1, 16} {
		o := options()
		o.Workload, o.Count, o.Pipeline, o.Timeout = Mixed, 1000, pipeline, 10*time.Second
		r, err := Run(t.Context(), o, Redis(c, address))
		if err != nil || r.All.Operations != 1000 || r.Failed != 0 {
			t.Errorf("pipeline %d: %v, %+v", pipeline, err, r)
		}
		o.Workload, o.Count = Increment, 16
		r, err = Run(t.Context(), o, Redis(c, address))
		if err != nil || r.Errors["BUSY"] != 16 {
			t.Errorf("pipeline %d: %v, %+v", pipeline, err, r)
		}
	}
}
