package router

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/testkit"
)

// history is a map and what became of it: splits, each of which raises the epochs of both halves by
// steps that are not one, and moves of replicas, which leave epochs alone.
func history(rng *rand.Rand, length int) []*pb.ClusterMap {
	maps := []*pb.ClusterMap{threeShards(1)}
	lastID := uint64(3)
	for len(maps) < length {
		m := proto.CloneOf(maps[len(maps)-1])
		m.Revision += 1 + rng.Uint64N(5)
		at := rng.IntN(len(m.Shards))
		s := m.Shards[at]
		if rng.IntN(2) == 0 && s.EndSlot-s.StartSlot > 1 {
			middle := s.StartSlot + 1 + rng.Uint32N(s.EndSlot-s.StartSlot-1)
			lastID++
			child := proto.CloneOf(s)
			child.Id, child.StartSlot = lastID, middle
			s.EndSlot = middle
			s.Epoch += 1 + rng.Uint64N(9)
			child.Epoch = s.Epoch
			m.Shards = slices.Insert(m.Shards, at+1, child)
		} else {
			s.Replicas[rng.IntN(len(s.Replicas))] = &pb.Replica{NodeId: fmt.Sprintf("n%d", rng.IntN(1000)), Incarnation: 2}
		}
		maps = append(maps, m)
	}
	return maps
}

// TestARouteByAStaleMapIsRefusedOrRight: a router that has seen only some of the maps, in any order,
// names a shard and an epoch; a shard that still has this epoch is the owner of the slot. So a shard
// that compares epochs never takes a write of a slot that is another's.
func TestARouteByAStaleMapIsRefusedOrRight(t *testing.T) {
	rng := testkit.Rand(t)
	for range 20 {
		maps := history(rng, 12)
		now, err := NewTable(maps[len(maps)-1])
		if err != nil {
			t.Fatal(err)
		}
		r := New()
		newest := uint64(0)
		for _, at := range rng.Perm(len(maps) - 1)[:6] {
			if _, err := r.Update(maps[at]); err != nil {
				t.Fatal(err)
			}
			newest = max(newest, maps[at].Revision)
			for range 200 {
				slot := api.Slot(rng.IntN(api.SlotCount))
				route := r.Table().ShardOf(slot)
				holder, exists := now.Shard(route.ID)
				if exists && holder.Epoch == route.Epoch && now.ShardOf(slot).ID != route.ID {
					t.Fatalf("slot %d went to shard %d at epoch %d, which has that epoch; shard %d owns it", slot, route.ID, route.Epoch, now.ShardOf(slot).ID)
				}
			}
		}
		if got := r.Table().Revision(); got != newest {
			t.Fatalf("the newest of the maps was %d, the router has %d (T2)", newest, got)
		}
		if _, err := r.Update(maps[len(maps)-1]); err != nil {
			t.Fatal(err)
		}
		for slot := range api.Slot(api.SlotCount) {
			if got, want := r.Table().ShardOf(slot), now.ShardOf(slot); got.ID != want.ID || got.Epoch != want.Epoch {
				t.Fatalf("slot %d goes to %+v, expected %+v", slot, got, want)
			}
		}
	}
}

// TestLeaderHintsFollowTheMapOverJumps: who lost its replica is no leader, however many maps were missed.
func TestLeaderHintsFollowTheMapOverJumps(t *testing.T) {
	rng := testkit.Rand(t)
	maps := history(rng, 60)
	r := New()
	for at := 0; at < len(maps); at += 1 + rng.IntN(10) {
		if _, err := r.Update(maps[at]); err != nil {
			t.Fatal(err)
		}
		for _, s := range r.Table().Shards() {
			if leader, known := r.Leader(s.ID); known && !s.hasReplicaOn(leader) {
				t.Fatalf("revision %d: %s leads shard %d, of which it holds nothing", maps[at].Revision, leader, s.ID)
			}
			r.SetLeader(s.ID, s.Replicas[rng.IntN(len(s.Replicas))].Node)
		}
	}
}
