package sdk

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/tests/cluster"
)

// recovery is how long a cluster may take from a fault to normal work. It is far above the
// failover's bar, because two busy cores are not a benchmark; the figures are printed.
const recovery = 30 * time.Second

// say prints a result at once, also when the test passes: these lines are the evidence of a run.
func say(t *testing.T, format string, args ...any) {
	fmt.Fprintf(os.Stdout, "    %s: %s\n", t.Name(), fmt.Sprintf(format, args...))
}

func newClient(t *testing.T, c *cluster.Cluster, o client.Options) *client.Client {
	t.Helper()
	if o.Addresses == nil {
		for _, n := range c.Nodes {
			o.Addresses = append(o.Addresses, n.GRPC)
		}
	}
	sdk, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sdk.Close() })
	return sdk
}

// tally counts increments on several keys and remembers those without an acknowledgement.
type tally struct {
	keys int

	mu       sync.Mutex
	ids      int
	acked    int
	codes    map[api.Code]int // of those that were not
	open     []openRequest
	longest  time.Duration
	attempts []int // how many calls took 1, 2, 3 … attempts
}

type openRequest struct {
	batch   api.Batch
	release func()
}

func newTally() *tally { return &tally{keys: 6, codes: make(map[api.Code]int)} }

// observe is an Options.Observe.
func (k *tally) observe(e client.Event) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e.Operation != "apply" {
		return
	}
	for len(k.attempts) <= e.Attempts {
		k.attempts = append(k.attempts, 0)
	}
	k.attempts[e.Attempts]++
	k.longest = max(k.longest, e.Duration)
}

func (k *tally) key(i int) []byte { return fmt.Appendf(nil, "count/%d", i%k.keys) }

// increment adds one to a key under an id of its own. It returns the error of the call.
func (k *tally) increment(ctx context.Context, sdk *client.Client, i int) error {
	id, release := sdk.NewRequest()
	b := api.Batch{Request: id, Ops: []api.Op{{Kind: api.OpIncrement, Key: k.key(i), Delta: 1}}}
	_, err := sdk.Apply(ctx, b)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ids++
	if err == nil {
		k.acked++
		release()
		return nil
	}
	k.codes[api.CodeOf(err)]++
	k.open = append(k.open, openRequest{b, release})
	return err
}

func (k *tally) acknowledged() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.acked
}

func (k *tally) failed(code api.Code) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.codes[code]
}

// expect allows calls to fail with these codes only.
func (k *tally) expect(t *testing.T, codes ...api.Code) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for code, n := range k.codes {
		if !slices.Contains(codes, code) {
			t.Errorf("%d calls failed with %s; allowed are %v", n, code, codes)
		}
	}
}

// settle reads the sum, which must lie between what was acknowledged and what was tried; repeats
// every open request under its id; and reads the sum again, which must be the number of ids.
func (k *tally) settle(t *testing.T, sdk *client.Client) {
	t.Helper()
	before := k.sum(t, sdk)
	unknown := k.codes[api.CodeUnknownOutcome]
	if before < k.acked || before > k.acked+unknown {
		t.Errorf("the sum is %d; %d were acknowledged and %d are unknown", before, k.acked, unknown)
	}
	for _, r := range k.open {
		ctx, cancel := context.WithTimeout(t.Context(), recovery)
		if _, err := sdk.Apply(ctx, r.batch); err != nil {
			t.Errorf("repeat of %+v: %v", r.batch.Request, err)
		}
		cancel()
		r.release()
	}
	after := k.sum(t, sdk)
	if after != k.ids {
		t.Errorf("the sum is %d after every request was repeated under its id; %d ids were used", after, k.ids)
	}
	say(t, "%d ids: %d acknowledged, failed %v; sum %d before the repeats and %d after; calls by attempts %v, longest %v",
		k.ids, k.acked, k.codes, before, after, k.attempts, k.longest.Round(time.Millisecond))
}

func (k *tally) sum(t *testing.T, sdk *client.Client) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	sum := 0
	for i := range k.keys {
		item, err := sdk.Get(ctx, 0, k.key(i))
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(string(item.Value))
		if item.Found && err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// workers call work until stop is called, which waits for them.
func workers(t *testing.T, n int, work func(ctx context.Context, worker int)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				work(ctx, i)
			}
		})
	}
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop) // if the test ends early
	return stop
}

// more waits until a count has grown by n.
func more(t *testing.T, what string, n int, count func() int) {
	t.Helper()
	from := count()
	cluster.Eventually(t, recovery, what, func() error {
		if now := count(); now < from+n {
			return fmt.Errorf("%d so far", now-from)
		}
		return nil
	})
}
