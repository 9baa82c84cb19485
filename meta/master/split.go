package master

import (
	"context"
	"fmt"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
)

// halvesRest is how long the halves of a split are left alone by splits for size. Until what each of them dropped is
// compacted away both are as large as the shard was.
const halvesRest = 15 * time.Minute

// finishSplit is the rest of a split that the map has noted. It may be repeated until it is done: the shard confirms
// what it has applied already.
func finishSplit(s *pb.Shard) remainder {
	return remainder{
		shard: s, what: "split", text: fmt.Sprintf("shard %d is split at slot %d into shard %d", s.Id, s.Split.AtSlot, s.Split.ChildId),
		do: func(m *Master) func(context.Context) error {
			return func(ctx context.Context) error {
				if err := m.o.Groups.Split(ctx, s); err != nil {
					return err
				}
				_, err := m.o.Map.Change(ctx, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_FinishSplit{FinishSplit: &peerv1.MetaFinishSplit{
					ShardId: s.Id, Epoch: s.Split.Epoch, ChildId: s.Split.ChildId,
				}}})
				return err
			}
		},
	}
}

// prepareSplit has the map note a split, unless the committed members of the shard are others than the replicas that
// the map gives it.
func (m *Master) prepareSplit(ctx context.Context, s *pb.Shard, r *peerv1.GroupMembers, at uint32) (*peerv1.MetaResult, error) {
	if why := unfitForSplit(s, r); why != "" {
		return nil, api.Errorf(api.CodeUnavailable, "shard %d cannot be split now: %s. Try again when lightning-cli cluster status shows nothing of it", s.Id, why)
	}
	return m.o.Map.Change(ctx, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_PrepareSplit{
		PrepareSplit: &peerv1.MetaPrepareSplit{ShardId: s.Id, Epoch: s.Epoch, AtSlot: at},
	}})
}

// unfitForSplit says why the members of a shard do not fit a split, empty if they do.
func unfitForSplit(s *pb.Shard, r *peerv1.GroupMembers) string {
	switch {
	case r == nil || len(r.Members) == 0:
		return "its leader does not say who its members are"
	case r.Changing || len(r.Members) != len(s.Replicas):
		return "its members are being changed"
	}
	for _, replica := range s.Replicas {
		if replica.Learner || replica.Leaving || !memberOf(r, replica).GetVoter() {
			return fmt.Sprintf("its replica on node %s comes or goes", replica.NodeId)
		}
	}
	return ""
}

// splitShard is the order of an operator. One that comes again is confirmed.
func (m *Master) splitShard(ctx context.Context, r *pb.SplitShardRequest) (*pb.SplitShardResponse, error) {
	s, err := m.shard(r.ShardId)
	if err != nil {
		return nil, err
	}
	current := m.o.Map.Map()
	begun := func(child uint64) (*pb.SplitShardResponse, error) {
		return &pb.SplitShardResponse{Revision: current.GetRevision(), ChildId: child, AtSlot: r.AtSlot}, nil
	}
	for _, child := range current.GetShards() {
		if child.ParentId == s.Id && child.StartSlot == r.AtSlot {
			return begun(child.Id)
		}
	}
	switch {
	case s.Split != nil && s.Split.AtSlot == r.AtSlot:
		return begun(s.Split.ChildId)
	case s.EndSlot-s.StartSlot < 2:
		return nil, api.Errorf(api.CodeInvalid, "shard %d has one slot, %d, which cannot be split", s.Id, s.StartSlot)
	case r.AtSlot <= s.StartSlot || r.AtSlot >= s.EndSlot:
		return nil, api.Errorf(api.CodeInvalid, "shard %d has the slots %d to %d: it can be split at %d to %d, not at %d",
			s.Id, s.StartSlot, s.EndSlot-1, s.StartSlot+1, s.EndSlot-1, r.AtSlot)
	case s.Split != nil:
		return nil, api.Errorf(api.CodeUnavailable, "shard %d is being split at slot %d already, which is not taken back: try again when that is done", s.Id, s.Split.AtSlot)
	}
	members, err := m.o.Groups.Members(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := m.haveRoom(ctx, s, int64(members.GetDiskBytes())); err != nil {
		return nil, err
	}
	res, err := m.prepareSplit(ctx, s, members, r.AtSlot)
	if err != nil {
		return nil, err
	}
	return &pb.SplitShardResponse{Revision: res.GetRevision(), ChildId: res.GetChildId(), AtSlot: r.AtSlot}, nil
}

// haveRoom refuses a split if a holder has no room for the shard once more: until what each half dropped is compacted away,
// the tables of both stay. Who does not say is taken for having enough.
func (m *Master) haveRoom(ctx context.Context, s *pb.Shard, bytes int64) error {
	for _, replica := range s.Replicas {
		free, total, err := m.o.Groups.Room(ctx, api.NodeID(replica.NodeId))
		if room := spare(free, total); err == nil && total > 0 && room < bytes {
			return api.Errorf(api.CodeUnavailable, "shard %d has %d MiB, and a split writes as much again before the rest is given back: node %s has room for %d MiB. Add or free space there, or move its replica",
				s.Id, bytes>>20, replica.NodeId, max(room, 0)>>20)
		}
	}
	return nil
}

// letHalvesRest notes which shards were halves of a split lately. A master that is new knows of none, and lets those rest
// that it sees being split.
func (m *Master) letHalvesRest(seen *observation) {
	now := m.o.Clock.Now()
	for _, s := range seen.current.Shards {
		if s.Split != nil {
			m.halves[s.Id], m.halves[s.Split.ChildId] = now.Add(halvesRest), now.Add(halvesRest)
		}
	}
	for id, until := range m.halves {
		if !now.Before(until) {
			delete(m.halves, id)
			continue
		}
		seen.halves[id] = true
	}
}
