package master

import (
	"context"
	"fmt"
	"slices"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/meta/placement"
	"github.com/lightning-db/lightning/meta/planner"
)

// remainder is the second half of a step whose first half a master has done.
type remainder struct {
	shard *pb.Shard
	what  string
	text  string
	do    func(*Master) func(context.Context) error
}

type unfinished []remainder

func (u unfinished) on(id api.ShardID) bool {
	return slices.ContainsFunc(u, func(r remainder) bool { return api.ShardID(r.shard.Id) == id })
}

// unfinished finds the steps that are half done, at most one for each shard: where the map and the committed
// members differ (MA1). Shards without a report wait for one.
func (seen *observation) unfinished() unfinished {
	var all unfinished
	for _, s := range seen.current.Shards {
		r := seen.reports[s.Id]
		if r == nil || r.GetChanging() {
			continue
		}
		if rest, ok := seen.rest(s, r); ok {
			all = append(all, rest)
		}
	}
	return all
}

func (seen *observation) rest(s *pb.Shard, r *peerv1.GroupMembers) (remainder, bool) {
	at := func(what string, node string, do func(*Master) func(context.Context) error) (remainder, bool) {
		return remainder{shard: s, what: what, text: fmt.Sprintf("shard %d: %s on node %s", s.Id, what, node), do: do}, true
	}
	// A learner that the map does not know comes from an order that was under way when its replica was given up.
	for _, member := range r.GetMembers() {
		known := slices.ContainsFunc(s.Replicas, func(x *pb.Replica) bool { return memberOf(r, x) == member })
		if !known && !member.Voter {
			stray := &pb.Replica{NodeId: member.NodeId, Incarnation: member.Incarnation}
			return at("take out a learner that was given up", member.NodeId, func(m *Master) func(context.Context) error {
				return func(ctx context.Context) error {
					return m.order(ctx, seen, s, peerv1.MemberChange_MEMBER_CHANGE_REMOVE, stray)
				}
			})
		}
	}
	for _, replica := range s.Replicas {
		member := memberOf(r, replica)
		switch {
		case replica.Leaving && member.GetVoter() && seen.needsFirst(s, r, replica) != nil:
			first := seen.needsFirst(s, r, replica)
			return at("give the vote to the replacement first", first.NodeId, func(m *Master) func(context.Context) error {
				return func(ctx context.Context) error {
					if err := m.order(ctx, seen, s, peerv1.MemberChange_MEMBER_CHANGE_PROMOTE, first); err != nil {
						return err
					}
					return m.settle(ctx, s, first)
				}
			})
		case replica.Leaving:
			return at("finish the removal", replica.NodeId, func(m *Master) func(context.Context) error {
				return func(ctx context.Context) error { return m.remove(ctx, seen, s, replica) }
			})
		case replica.Learner && member == nil:
			return at("finish the addition", replica.NodeId, func(m *Master) func(context.Context) error {
				return func(ctx context.Context) error {
					return m.order(ctx, seen, s, peerv1.MemberChange_MEMBER_CHANGE_ADD_LEARNER, replica)
				}
			})
		case replica.Learner && member.Voter:
			return at("note the vote", replica.NodeId, func(m *Master) func(context.Context) error {
				return func(ctx context.Context) error { return m.settle(ctx, s, replica) }
			})
		}
	}
	if s.Split != nil {
		return finishSplit(s), true
	}
	return remainder{}, false
}

// needsFirst is the learner that must vote before a replica that leaves can go: without it no majority of the others
// would answer, as when a dead voter that was to leave came back and another died.
func (seen *observation) needsFirst(s *pb.Shard, r *peerv1.GroupMembers, leaving *pb.Replica) (learner *pb.Replica) {
	rest, heard := 0, 0
	for _, x := range s.Replicas {
		member := memberOf(r, x)
		_, silent := seen.down[x.NodeId]
		switch {
		case x == leaving || member == nil:
		case !member.Voter && member.CaughtUp && !x.Leaving:
			learner = x
		case member.Voter:
			rest++
			if !silent {
				heard++
			}
		}
	}
	if 2*heard > rest {
		return nil
	}
	return learner
}

// step is how a step of the plan is carried out.
func (m *Master) step(seen *observation, p planner.Step) func(context.Context) error {
	return func(ctx context.Context) error {
		if p.Kind == planner.Forget {
			_, err := m.o.Map.Change(ctx, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_RemoveNode{RemoveNode: &peerv1.MetaRemoveNode{NodeId: string(p.Node)}}})
			return err
		}
		at := slices.IndexFunc(seen.current.Shards, func(s *pb.Shard) bool { return s.Id == uint64(p.Shard) })
		if at < 0 {
			return api.Errorf(api.CodeInternal, "the plan names shard %d, which is not in the map", p.Shard)
		}
		s := seen.current.Shards[at]
		switch p.Kind {
		case planner.AddLearner:
			return m.add(ctx, seen, s, p)
		case planner.Split:
			_, err := m.prepareSplit(ctx, s, seen.reports[s.Id], p.Slot)
			return err
		}
		on := slices.IndexFunc(s.Replicas, func(r *pb.Replica) bool { return r.NodeId == string(p.Node) })
		if on < 0 {
			return api.Errorf(api.CodeInternal, "the plan names node %s, which has no replica of shard %d", p.Node, p.Shard)
		}
		switch replica := s.Replicas[on]; p.Kind {
		case planner.Promote:
			if err := m.order(ctx, seen, s, peerv1.MemberChange_MEMBER_CHANGE_PROMOTE, replica); err != nil {
				return err
			}
			return m.settle(ctx, s, replica)
		case planner.Remove:
			_, err := m.o.Map.Change(ctx, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_LeaveReplica{LeaveReplica: named(s, replica)}})
			if err != nil {
				return err
			}
			return m.remove(ctx, seen, s, replica)
		case planner.Lead:
			return m.lead(ctx, s, p.Node)
		}
		return api.Errorf(api.CodeInternal, "the plan has a step %d, which the master does not know", p.Kind)
	}
}

func named(s *pb.Shard, r *pb.Replica) *peerv1.MetaReplica {
	return &peerv1.MetaReplica{ShardId: s.Id, Epoch: s.Epoch, NodeId: r.NodeId, Incarnation: r.Incarnation}
}

// add puts a replica into the map first, so that its node makes room for it, and then into the group.
func (m *Master) add(ctx context.Context, seen *observation, s *pb.Shard, p planner.Step) error {
	r, err := m.o.Map.Change(ctx, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_AddReplica{AddReplica: &peerv1.MetaAddReplica{
		ShardId: s.Id, Epoch: s.Epoch, NodeId: string(p.Node), Replaces: string(p.Replaces),
	}}})
	if err != nil {
		return err
	}
	return m.order(ctx, seen, s, peerv1.MemberChange_MEMBER_CHANGE_ADD_LEARNER, &pb.Replica{NodeId: string(p.Node), Incarnation: r.GetIncarnation()})
}

func (m *Master) settle(ctx context.Context, s *pb.Shard, r *pb.Replica) error {
	_, err := m.o.Map.Change(ctx, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_SettleReplica{SettleReplica: named(s, r)}})
	return err
}

// remove takes a replica that the map says is leaving out of the group, and only then out of the map: the node
// deletes what it holds when both have let it go (MA2).
func (m *Master) remove(ctx context.Context, seen *observation, s *pb.Shard, r *pb.Replica) error {
	if err := m.order(ctx, seen, s, peerv1.MemberChange_MEMBER_CHANGE_REMOVE, r); err != nil {
		return err
	}
	_, err := m.o.Map.Change(ctx, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_DropReplica{DropReplica: named(s, r)}})
	return err
}

// order has the leader change the members, unless they are others than those that were seen (MA3).
func (m *Master) order(ctx context.Context, seen *observation, s *pb.Shard, change peerv1.MemberChange, r *pb.Replica) error {
	index := seen.reports[s.Id].GetIndex()
	if index == 0 {
		return api.Errorf(api.CodeUnavailable, "the leader of shard %d has not said who its members are", s.Id)
	}
	return m.o.Groups.Change(ctx, s, &peerv1.ChangeMembersRequest{
		GroupId: s.Id, Change: change, NodeId: r.NodeId, Incarnation: r.Incarnation,
		PreviousIndex: index, KeepVoters: seen.keep(s, r),
	})
}

// keep is how many voters must remain when one is removed: the quorum of the size that a shard should have (MA4), or
// as many as there were before its replacement began to vote.
func (seen *observation) keep(s *pb.Shard, leaving *pb.Replica) uint32 {
	holding := 0
	for _, n := range seen.current.Nodes {
		if belongs(n) {
			holding++
		}
	}
	keep, voters, replaced := min(holding, placement.DefaultReplication)/2+1, 0, false
	for _, x := range s.Replicas {
		if memberOf(seen.reports[s.Id], x).GetVoter() {
			voters++
			replaced = replaced || x.Replaces == leaving.NodeId && !x.Leaving
		}
	}
	if replaced {
		keep = min(keep, max(voters-1, 1))
	}
	return uint32(keep)
}

// lead makes a node the preferred leader first: otherwise the leadership would go back.
func (m *Master) lead(ctx context.Context, s *pb.Shard, to api.NodeID) error {
	_, err := m.o.Map.Change(ctx, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_PreferLeader{
		PreferLeader: &peerv1.MetaPreferLeader{ShardId: s.Id, Epoch: s.Epoch, NodeId: string(to)},
	}})
	if err != nil {
		return err
	}
	return m.o.Groups.Transfer(ctx, s, to)
}
