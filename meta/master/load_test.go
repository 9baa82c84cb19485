package master

import (
	"context"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
)

// serve lets time pass with so many requests per second to each shard, a round each ten seconds. It returns how many
// leaders changed.
func (w *world) serve(m *Master, length time.Duration, perSecond map[uint64]uint64) (changes int) {
	for range int(length / idlePause) {
		before := map[uint64]string{}
		for id, g := range w.groups {
			before[id] = g.leader
			w.counts[id] += perSecond[id] * uint64(idlePause/time.Second)
		}
		w.clock.Advance(idlePause)
		m.round(context.Background())
		for id, g := range w.groups {
			if g.leader != before[id] {
				changes++
				w.counts[id] = 0 // another replica counts for itself
			}
		}
	}
	return changes
}

// TestLeadersOfBusyShardsMoveApart, when they were watched for long enough, once, and those of quiet shards stay.
func TestLeadersOfBusyShardsMoveApart(t *testing.T) {
	w := newWorld(t, 4, "a", "b", "c")
	w.counts = map[uint64]uint64{}
	m := w.master()
	busy := map[uint64]uint64{1: 5000, 2: 10, 3: 10, 4: 5000}
	if w.groups[1].leader != w.groups[4].leader {
		t.Fatal("both busy shards should have one leader at first")
	}
	if n := w.serve(m, leaderRest-idlePause, busy); n != 0 {
		t.Errorf("%d leaders change before the load is known for long enough", n)
	}
	n := w.serve(m, leaderRest, busy)
	if n == 0 || n > 3 || w.groups[1].leader == w.groups[4].leader {
		t.Errorf("%d leaders changed, and both busy shards are led by %s and %s", n, w.groups[1].leader, w.groups[4].leader)
	}
	if n := w.serve(m, 4*leaderRest, busy); n != 0 {
		t.Errorf("%d leaders change while the load does not", n)
	}
}

// TestLoadsAreAveragesThatOutliveASilentLeader, and are unknown without a count.
func TestLoadsAreAveragesThatOutliveASilentLeader(t *testing.T) {
	w := newWorld(t, 2, "a", "b", "c")
	w.counts = map[uint64]uint64{1: 0}
	m := w.master()
	requests := func(id uint64) int64 {
		for _, s := range m.view(m.mu.seen, nil).Shards {
			if s.ID == api.ShardID(id) {
				return s.Requests
			}
		}
		return 0
	}
	load := map[uint64]uint64{1: 600}
	w.serve(m, 30*time.Second, load)
	if r := requests(1); r != -1 {
		t.Errorf("after half a minute the load is %d", r)
	}
	w.serve(m, 5*time.Minute, load)
	delete(w.counts, 2)
	w.serve(m, idlePause, load)
	if r := requests(1); r < 590 || r > 610 {
		t.Errorf("after five minutes the load is %d", r)
	}
	g := w.groups[1]
	delete(w.groups, 1)
	w.serve(m, loadKept-2*idlePause, nil)
	if r := requests(1); r < 590 || r > 610 {
		t.Errorf("while the leader is silent the load is %d", r)
	}
	w.serve(m, 3*idlePause, nil)
	if r := requests(1); r != -1 {
		t.Errorf("after ten minutes of silence the load is %d", r)
	}
	w.groups[1] = g
}

// TestALoadBeginsAnewWithTheCount of another leader, or of one that started anew, and fades with time.
func TestALoadBeginsAnewWithTheCount(t *testing.T) {
	now := time.Unix(1000, 0)
	l := &load{}
	note := func(leader string, count uint64, after time.Duration) {
		now = now.Add(after)
		l.note(&peerv1.GroupMembers{LeaderId: leader, Requests: &count}, now)
	}
	note("a", 1_000_000, 0)
	note("a", 1_000_600, time.Minute)
	if l.perSecond != 10 {
		t.Errorf("ten requests a second are %v", l.perSecond)
	}
	note("b", 5_000_000, time.Second)
	note("b", 17, time.Second)
	note("b", 20, -time.Hour)
	if l.perSecond != 10 || l.leader != "b" {
		t.Errorf("a count that begins anew makes it %v", l.perSecond)
	}
	for range 60 {
		note("b", 20, 30*time.Second)
	}
	if l.perSecond > 0.1 {
		t.Errorf("half an hour without requests leaves %v", l.perSecond)
	}
}
