package shard

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
)

// ack is when a number was acknowledged.
type ack struct {
	at       time.Time
	progress int64
}

type staleCounts struct{ answered, fetched, refused, old, absent int }

// prove is what a replica gets by asking the leader. Before the answer arrives anything may happen.
func (e *electorate) prove(ctx context.Context) (Proof, error) {
	e.stale.fetched++
	p, err := e.leader.reads.Prove(ctx)
	for e.rng.IntN(4) < e.restless {
		e.step()
	}
	return p, err
}

// reach lets a node apply up to an index, or not.
func (e *electorate) reach(n *elector, index api.Index) error {
	if e.rng.IntN(3) == 0 && n.position() < index {
		return api.Errorf(api.CodeExpired, "it lags")
	}
	for n.position() < index {
		e.catchUp(n, nil)
	}
	return nil
}

func (n *elector) position() api.Index {
	h, err := n.m.store.Acquire()
	if err != nil {
		n.t.Fatal(err)
	}
	defer h.Release()
	return api.Index(h.DB.Applied().Index)
}

func (e *electorate) advanceProgress() {
	if len(e.flight) >= maxInFlight {
		return
	}
	e.progress++
	e.propose("", EncodeCommand(batch(put("progress", strconv.FormatInt(e.progress, 10)))))
	e.flight[len(e.flight)-1].progress = e.progress
}

// ackedBy is the highest number that was acknowledged before a time. What happened in the same
// millisecond may have come later: the stopwatch stands still in it.
func (e *electorate) ackedBy(t time.Time) int64 {
	var highest int64
	for _, a := range e.acked {
		if a.at.Before(t) {
			highest = max(highest, a.progress)
		}
	}
	return highest
}

func (e *electorate) staleRead(n *elector, key string, bound time.Duration) {
	e.readDepth += 100 // nobody else reads meanwhile
	items, err := n.reads.GetStale(context.Background(), 1, 0, [][]byte{[]byte("progress"), []byte(key)}, Staleness{Bound: bound})
	e.readDepth -= 100
	if err != nil {
		if code := api.CodeOf(err); code != api.CodeTooStale {
			e.t.Fatalf("stale read: %v", err)
		}
		e.stale.refused++
		return
	}
	e.stale.answered++
	var got int64
	if items[0].Found {
		if got, err = strconv.ParseInt(string(items[0].Value), 10, 64); err != nil {
			e.t.Fatal(err)
		}
	}
	if want := e.ackedBy(e.stopwatch.Now().Add(-bound)); got < want {
		e.t.Fatalf("a read with the bound %s found %d, and %d was acknowledged that long ago", bound, got, want)
	}
	if got < e.ackedBy(e.stopwatch.Now()) {
		e.stale.old++
	}
	if k := e.keys[key]; k != nil && !items[1].Found && n.holds(key, e) {
		if e.stale.absent++; k.revived {
			e.t.Fatalf("%s was read absent although it was revived", key)
		}
		k.absent = true
	}
}

// holds reports whether a node has applied the entry that puts a key.
func (n *elector) holds(key string, e *electorate) bool {
	return n.applied >= e.keys[key].from
}

// S3 and S8, against leaders that change, replicas that lag and clocks that jump: no answer by
// proof is older than its bound, and what it calls expired stays expired.
func TestNoAnswerByProofIsOlderThanItsBound(t *testing.T) {
	rng := testkit.Rand(t)
	var sum staleCounts
	for range 40 {
		e := newElectorate(t, rng)
		for range 1000 {
			e.step()
			if rng.IntN(3) == 0 {
				e.advanceProgress()
			}
			if rng.IntN(2) == 0 {
				n := e.nodes[rng.IntN(len(e.nodes))]
				e.staleRead(n, e.recentOr("key-0"), time.Duration(1+rng.IntN(200))*time.Millisecond)
			}
		}
		for _, n := range e.nodes {
			n.reads.proofs.close()
			n.close()
		}
		sum.answered += e.stale.answered
		sum.fetched += e.stale.fetched
		sum.refused += e.stale.refused
		sum.old += e.stale.old
		sum.absent += e.stale.absent
	}
	t.Logf("%+v", sum)
	if sum.old == 0 || sum.absent == 0 || sum.refused == 0 || sum.fetched >= sum.answered+sum.refused {
		t.Fatal("the run tested nothing")
	}
}

func (e *electorate) recentOr(key string) string {
	if k := e.recent(); k != "" {
		return k
	}
	return key
}
