package recover

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/tests/cluster"
)

// counter is counted up by one client, one increment at a time.
type counter struct {
	key         []byte
	shard       uint64
	sent, acked int64
}

// count counts until ctx ends. One increment at most is open then.
func (c *counter) count(ctx context.Context, sdk *client.Client) {
	for ctx.Err() == nil {
		c.sent++
		_, err := sdk.Increment(ctx, 0, c.key, 1)
		switch {
		case err == nil:
			c.acked++
		case !errors.Is(err, api.ErrUnknownOutcome):
			c.sent-- // nothing was executed
		}
	}
}

// TestUnderLoadOnlyWhatThePlanNamesIsLost: all nodes die while clients count, and two of five for good. Where the plan says that nothing is lost every
// counter has at least what was answered, and none has more than was sent. A node that apply was not run on is refused,
// until it was.
func TestUnderLoadOnlyWhatThePlanNamesIsLost(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 5, Args: append([]string{"--shards", fmt.Sprint(shards)}, cluster.Patient...)})
	settled(t, c.Nodes[0], 5)
	table := c.Table()
	var counters []*counter
	for i := range 8 {
		k := fmt.Appendf(nil, "counter-%d", i)
		counters = append(counters, &counter{key: k, shard: uint64(table.ShardOf(router.Slot(0, k)).ID)})
	}
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	sdk := connect(t, c.Nodes...)
	for _, one := range counters {
		clients.Go(func() { one.count(ctx, sdk) })
	}
	cluster.Wait(t.Context(), 2*time.Second) // of load
	c.KillAll()
	cancel()
	clients.Wait()

	left := c.Nodes[:3]
	file, id, text := plan(t, left...)
	apply(t, left[0], file, id)
	apply(t, left[1], file, id)
	start(t, left[:2]...)
	refused(t, left[2])
	apply(t, left[2], file, id)
	start(t, left[2])
	sdk = connect(t, left...)
	for _, one := range counters {
		cluster.Eventually(t, time.Minute, "a counter is read", func() error { return one.check(t, sdk, text) })
	}
}

// check fails if the counter cannot be read. It reports what is lost that should not be, and what is counted twice.
func (c *counter) check(t *testing.T, sdk *client.Client, text string) error {
	value, err := sdk.Increment(t.Context(), 0, c.key, 0)
	if err != nil {
		return err
	}
	lossless := false
	for line := range strings.Lines(text) {
		lossless = lossless || strings.HasPrefix(line, fmt.Sprintf("shard %d: ", c.shard)) && strings.Contains(line, "nothing is lost")
	}
	t.Logf("%s on shard %d (lossless %t): %d, answered %d, sent %d", c.key, c.shard, lossless, value, c.acked, c.sent)
	if value > c.sent || lossless && value < c.acked {
		t.Errorf("%s on shard %d (lossless %t) is %d, answered were %d and sent %d", c.key, c.shard, lossless, value, c.acked, c.sent)
	}
	return nil
}
