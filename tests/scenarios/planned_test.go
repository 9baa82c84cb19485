package scenarios

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/report"
)

// TestAPlannedRestartOfEveryNodeFailsNoRequest stops and starts one node after the other while 16 writers
// go on through the SDK. The report has the latencies beside those of the calm before; none decides.
func TestAPlannedRestartOfEveryNodeFailsNoRequest(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	var o client.Options
	for _, n := range c.Nodes {
		o.Addresses = append(o.Addresses, n.GRPC)
	}
	sdk, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer sdk.Close()

	var mu sync.Mutex
	var calm, restarts []time.Duration
	stopping := false
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writers sync.WaitGroup
	for w := range 16 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				attempt, done := context.WithTimeout(t.Context(), 30*time.Second)
				began := time.Now()
				_, err := sdk.Put(attempt, 0, []byte(fmt.Sprint("planned-", w, "-", i%100)), []byte("value"), client.PutOptions{})
				took := time.Since(began)
				done()
				mu.Lock()
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
				if stopping {
					restarts = append(restarts, took)
				} else {
					calm = append(calm, took)
				}
				mu.Unlock()
			}
		})
	}
	written := func(atLeast int) {
		cluster.Eventually(t, recoveryLimit, "writes go on", func() error {
			mu.Lock()
			defer mu.Unlock()
			if n := len(calm) + len(restarts); n < atLeast {
				return fmt.Errorf("%d writes", n)
			}
			return nil
		})
	}
	written(2000)
	for _, n := range c.Nodes {
		mu.Lock()
		stopping = true
		before := len(calm) + len(restarts)
		mu.Unlock()
		if code := n.Stop(); code != 0 {
			t.Errorf("%s ended with code %d", n.Name, code)
		}
		n.Restart()
		written(before + 1000)
		mu.Lock()
		stopping = false
		mu.Unlock()
	}
	cancel()
	writers.Wait()
	report.Add("planned restart", "%d nodes restarted under 16 writers: no failed request; p99 %s, while nodes restart %s (%d and %d writes)",
		len(c.Nodes), p99(calm), p99(restarts), len(calm), len(restarts))
}

func p99(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)*99/100].Round(time.Millisecond)
}

// recoveryLimit is ten times what a restart takes on a loaded machine.
const recoveryLimit = 60 * time.Second
