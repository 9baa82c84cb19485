package sdk

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/tests/cluster"
)

// TestMultiGetReadsWhatWasWritten over all shards, while a leader is killed.
func TestMultiGetReadsWhatWasWritten(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	var requests, attempts atomic.Int64
	sdk := newClient(t, c, client.Options{DefaultTimeout: recovery, Observe: func(e client.Event) {
		if e.Operation == "multiget" {
			requests.Add(1)
			attempts.Add(int64(e.Attempts))
		}
	}})
	keys := make([][]byte, 300)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "multi/%d", i)
		if _, err := sdk.Put(t.Context(), 0, keys[i], keys[i], client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		items, err := sdk.MultiGet(t.Context(), 0, keys)
		if err != nil {
			t.Fatal(err)
		}
		for i, item := range items {
			if string(item.Value) != string(keys[i]) {
				t.Fatalf("%s is %q", keys[i], item.Value)
			}
		}
	}
	begun := time.Now()
	check()
	say(t, "%d keys in %d requests, %v", len(keys), requests.Load(), time.Since(begun).Round(time.Microsecond))
	leader, _ := c.LeaderOfMost(recovery)
	leader.Kill()
	begun = time.Now()
	check()
	say(t, "again after a leader was killed: %v, %d attempts in all", time.Since(begun).Round(time.Millisecond), attempts.Load())
}

// past remembers which value was acknowledged when.
type past struct {
	mu    sync.Mutex
	value []int64
	at    []time.Time
}

func (p *past) note(value int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.value, p.at = append(p.value, value), append(p.at, time.Now())
}

// before is the last value that was acknowledged before a time.
func (p *past) before(t time.Time) (value int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.at) - 1; i >= 0; i-- {
		if p.at[i].Before(t) {
			return p.value[i]
		}
	}
	return 0
}

// TestAStaleReadIsNeverOlderThanItsBound: a counter grows, replicas stand still and are killed,
// and every answer of a stale read is at least what had been acknowledged a bound before its call.
func TestAStaleReadIsNeverOlderThanItsBound(t *testing.T) {
	const bound = 300 * time.Millisecond
	c := cluster.Start(t, cluster.Options{})
	key := []byte("grows")
	sdk := newClient(t, c, client.Options{DefaultTimeout: recovery, AttemptTimeout: 500 * time.Millisecond})
	var acknowledged past
	var reads, behind, refused atomic.Int64
	stopWriter := workers(t, 1, func(context.Context, int) {
		if n, err := sdk.Increment(context.Background(), 0, key, 1); err == nil {
			acknowledged.note(n)
		}
	})
	stopReaders := workers(t, 3, func(context.Context, int) {
		begun := time.Now()
		item, err := sdk.Stale(bound).Get(context.Background(), 0, key)
		if err != nil {
			if code := api.CodeOf(err); code != api.CodeTooStale && code != api.CodeUnavailable && code != api.CodeExpired {
				t.Errorf("stale read: %v", err)
			}
			refused.Add(1)
			return
		}
		n, _ := strconv.ParseInt(string(item.Value), 10, 64)
		if least := acknowledged.before(begun.Add(-bound)); n < least {
			t.Errorf("a read began at %v and found %d; %d was acknowledged %v before", begun, n, least, bound)
		}
		if n < acknowledged.before(begun) {
			behind.Add(1)
		}
		reads.Add(1)
	})
	done := func() int { return int(reads.Load()) }
	for i, n := range c.Nodes {
		more(t, "stale reads of a healthy cluster", 300, done)
		if i == 1 {
			n.Kill()
			more(t, "stale reads beside a killed node", 300, done)
			n.Restart()
			continue
		}
		n.Pause()
		more(t, "stale reads beside a node that stands still", 300, done)
		n.Resume()
	}
	more(t, "stale reads at the end", 300, done)
	stopReaders()
	stopWriter()
	say(t, "%d stale reads within %v, %d of them behind the last acknowledged write, %d refused; %d writes",
		reads.Load(), bound, behind.Load(), refused.Load(), len(acknowledged.value))
}
