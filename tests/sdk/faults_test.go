package sdk

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/workload"
)

const counterWorkers = 8

// TestAKilledLeaderCostsTimeOnly: calls with time to spare succeed through kills of leaders, and
// each counts once.
func TestAKilledLeaderCostsTimeOnly(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	k := newTally()
	sdk := newClient(t, c, client.Options{Observe: k.observe, DefaultTimeout: recovery})
	stop := workers(t, counterWorkers, func(_ context.Context, i int) { _ = k.increment(context.Background(), sdk, i) })
	for range 3 {
		more(t, "increments before a kill", 200, k.acknowledged)
		leader, shards := c.LeaderOfMost(recovery)
		leader.Kill()
		c.WaitLeaderMoves(shards[0], leader, recovery)
		more(t, "increments after a kill", 200, k.acknowledged)
		leader.Restart()
	}
	stop()
	k.expect(t) // nothing: thirty seconds are enough for any failover
	k.settle(t, sdk)
}

// TestANodeThatStandsStillIsLeft: the leader stops in its tracks with requests in flight, which
// are repeated elsewhere; when it goes on it may still execute the first attempts.
func TestANodeThatStandsStillIsLeft(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	k := newTally()
	sdk := newClient(t, c, client.Options{Observe: k.observe, DefaultTimeout: recovery, AttemptTimeout: 300 * time.Millisecond})
	stop := workers(t, counterWorkers, func(_ context.Context, i int) { _ = k.increment(context.Background(), sdk, i) })
	for range 3 {
		more(t, "increments before the pause", 200, k.acknowledged)
		leader, shards := c.LeaderOfMost(recovery)
		leader.Pause()
		c.WaitLeaderMoves(shards[0], leader, recovery)
		more(t, "increments beside the pause", 200, k.acknowledged)
		leader.Resume()
		more(t, "increments after the pause", 200, k.acknowledged)
	}
	stop()
	k.expect(t)
	k.settle(t, sdk)
}

// slow makes connections to one address late by a delay for everything that is received.
type slow struct {
	address atomic.Pointer[string]
	delay   time.Duration
	delayed atomic.Int64
}

func (s *slow) dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := workload.TCP(ctx, address)
	if err != nil {
		return nil, err
	}
	return &slowConn{Conn: conn, slow: s, address: address}, nil
}

type slowConn struct {
	net.Conn
	slow    *slow
	address string
}

func (c *slowConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if at := c.slow.address.Load(); at != nil && *at == c.address && err == nil {
		c.slow.delayed.Add(1)
		cluster.Wait(context.Background(), c.slow.delay)
	}
	return n, err
}

// TestASlowNodeCostsTimeOnly: replies of the leader come later than an attempt lasts, so every
// call to it is repeated, through other nodes, which forward to the same leader.
func TestASlowNodeCostsTimeOnly(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	k := newTally()
	s := &slow{delay: 400 * time.Millisecond}
	sdk := newClient(t, c, client.Options{
		Observe: k.observe, DefaultTimeout: recovery, AttemptTimeout: 100 * time.Millisecond, Dialer: s.dial,
	})
	stop := workers(t, counterWorkers, func(_ context.Context, i int) { _ = k.increment(context.Background(), sdk, i) })
	for range 2 {
		more(t, "increments while all are quick", 200, k.acknowledged)
		leader, _ := c.LeaderOfMost(recovery)
		s.address.Store(&leader.GRPC)
		more(t, "late replies", 10, func() int { return int(s.delayed.Load()) })
		more(t, "increments while one is slow", 200, k.acknowledged)
		s.address.Store(nil)
	}
	stop()
	k.expect(t)
	k.settle(t, sdk)
	say(t, "%d reads of the connection were late", s.delayed.Load())
}

// TestAnEndedContextSaysWhatIsKnown: contexts end at any moment of a call. The error is unknown
// or "not executed"; both must be true.
func TestAnEndedContextSaysWhatIsKnown(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	k := newTally()
	sdk := newClient(t, c, client.Options{Observe: k.observe})
	stop := workers(t, counterWorkers, func(_ context.Context, i int) {
		limit := time.Duration(rand.IntN(4000<<rand.IntN(7))) * time.Microsecond // from nothing to a quarter of a second
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if i%2 == 0 {
			timer := time.AfterFunc(limit/2, cancel)
			defer timer.Stop()
		}
		err := k.increment(ctx, sdk, i)
		ended := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
		// A node sees the deadline too, and may be the one to say so.
		if err != nil && !ended && !errors.Is(err, api.ErrExpired) && !errors.Is(err, api.ErrUnknownOutcome) {
			t.Errorf("%v does not say that the context ended", err)
		}
	})
	more(t, "increments", 200, k.acknowledged)
	more(t, "unknown outcomes", 20, func() int { return k.failed(api.CodeUnknownOutcome) })
	stop()
	// Unavailable: the time was over while the leader was still being looked for.
	k.expect(t, api.CodeExpired, api.CodeUnknownOutcome, api.CodeUnavailable)
	k.settle(t, sdk)
}

// TestAMapThatIsOutOfDateCostsTimeOnly: one node after the other comes back at another address,
// until none is where the client was told that they are.
func TestAMapThatIsOutOfDateCostsTimeOnly(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	k := newTally()
	sdk := newClient(t, c, client.Options{Observe: k.observe, DefaultTimeout: recovery})
	stop := workers(t, counterWorkers, func(_ context.Context, i int) { _ = k.increment(context.Background(), sdk, i) })
	for _, n := range c.Nodes {
		more(t, "increments before a node moves", 200, k.acknowledged)
		n.Kill()
		old, port := n.GRPC, cluster.FreePort(t)
		n.GRPC = net.JoinHostPort(n.Host, strconv.Itoa(port))
		n.Run("--grpc-port", strconv.Itoa(port))
		n.WaitReady(recovery)
		cluster.Eventually(t, recovery, "the client hears of the address", func() error {
			for _, known := range sdk.Map().GetNodes() {
				if known.GetGrpcAddress() == n.GRPC {
					return nil
				}
			}
			return errors.New(n.Name + " is still known at " + old)
		})
	}
	more(t, "increments at the end", 200, k.acknowledged)
	stop()
	k.expect(t)
	k.settle(t, sdk)
}
