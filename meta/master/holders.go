package master

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/meta"
	"github.com/lightning-db/lightning/meta/placement"
	"github.com/lightning-db/lightning/meta/planner"
	"github.com/lightning-db/lightning/raft"
)

// Moving the replicas of the map.
//
// They are planned as those of a shard are, by the same planner, in a view of one group. The map shows the members that
// are committed (package meta, members.go), so a step is one change of Raft and has no halves: whoever is master next
// sees all that was done. The master leads the group that it changes. When its own replica is to go it gives the leadership
// away, and the next master takes the replica out.

const (
	fewHolders  = 3
	manyHolders = 5
)

// mapGroup is the group of the map as a shard without slots, nothing before the map shows its members.
func mapGroup(current *pb.ClusterMap) []*pb.Shard {
	if len(current.GetMetaReplicas()) == 0 {
		return nil
	}
	return []*pb.Shard{{Id: uint64(raft.MetaGroup), Replicas: current.MetaReplicas}}
}

// groups are the shards of the map, and its own group.
func (seen *observation) groups() []*pb.Shard {
	return slices.Concat(seen.current.Shards, mapGroup(seen.current))
}

// wantedHolders is how many voters the map should have: five from five nodes on. A group of five forms when five nodes
// are there and alive, and goes back to three when fewer belong to the cluster: a node that is down for a while
// changes nothing (MA7). Of two nodes one holds the map, if only one did.
func (seen *observation) wantedHolders() int {
	belong, alive, voters, leaving := 0, 0, 0, false
	for _, n := range seen.current.Nodes {
		replica := meta.MapReplica(seen.current, n.Id)
		if replica != nil && !replica.Learner {
			voters++
			leaving = leaving || !belongs(n)
		}
		if !belongs(n) {
			continue
		}
		belong++
		if _, silent := seen.down[n.Id]; !silent {
			alive++
		}
	}
	switch {
	case alive >= manyHolders, belong >= manyHolders && voters > fewHolders:
		return manyHolders
	case voters < fewHolders && (belong < 2 || belong == 2 && leaving):
		return 1
	}
	return fewHolders
}

// belongs reports whether a node is to stay in the cluster.
func belongs(n *pb.Node) bool {
	return n.State == pb.NodeState_NODE_STATE_ACTIVE || n.State == pb.NodeState_NODE_STATE_DRAINING
}

// planMap plans the next step of the group of the map.
func (m *Master) planMap(seen *observation) planner.Plan {
	group := mapGroup(seen.current)
	if len(group) == 0 {
		return planner.Plan{}
	}
	v := m.view(seen, nil)
	v.Replication, v.Paused = seen.wantedHolders(), true // one group has nothing to balance
	one := seen.shard(group[0], false)
	seen.inferReplaced(&one, v)
	v.Shards = []planner.Shard{one}
	plan := planner.Make(v)
	plan.Steps = slices.DeleteFunc(plan.Steps, func(s planner.Step) bool { return s.Kind == planner.Forget })
	for i := range plan.Steps {
		plan.Steps[i].Text = nameMap(plan.Steps[i].Text)
	}
	for i := range plan.Blocked {
		plan.Blocked[i].Text = nameMap(plan.Blocked[i].Text)
	}
	return plan
}

// nameMap says what a reader knows the group by.
func nameMap(text string) string {
	return strings.ReplaceAll(text, fmt.Sprintf("shard %d", raft.MetaGroup), "the cluster map")
}

// inferReplaced finds whose place a learner takes that was made because a zone holds too many: the membership does not say
// it. A voter that is dead or leaves needs no such hint, and goes first.
func (seen *observation) inferReplaced(s *planner.Shard, v planner.View) {
	learner := slices.IndexFunc(s.Replicas, func(r planner.Replica) bool { return !r.Voter })
	if learner < 0 {
		return
	}
	var nodes []placement.Node
	for _, n := range v.Nodes {
		if n.Duty == planner.Serving || n.Duty == planner.Draining {
			nodes = append(nodes, placement.Node{ID: n.ID, Zone: n.Zone, Weight: n.Weight})
		}
	}
	var voters []api.NodeID
	for _, r := range s.Replicas {
		if !r.Voter {
			continue
		}
		if !slices.ContainsFunc(v.Nodes, func(n planner.Node) bool { return n.ID == r.Node && n.Down == 0 && n.Duty <= planner.Draining }) {
			return
		}
		voters = append(voters, r.Node)
	}
	if len(voters) < v.Replication {
		return
	}
	layout := placement.NewLayout(v.Cluster, v.Replication, nodes, []placement.Group{{Key: int64(s.ID), Replicas: voters}})
	if crowded, ok := layout.Crowded(0); ok {
		s.Replicas[learner].Replaces = crowded
	}
}

// moveMap carries out the steps of planMap, of which there is one at most.
func (m *Master) moveMap(ctx context.Context, seen *observation, plan planner.Plan) {
	for _, s := range plan.Steps {
		m.carryOut(ctx, api.ShardID(raft.MetaGroup), s.Kind.String(), s.Text, func(ctx context.Context) error { return m.stepOfMap(ctx, seen, s) })
	}
}

func (m *Master) stepOfMap(ctx context.Context, seen *observation, p planner.Step) error {
	group := mapGroup(seen.current)[0]
	replica := meta.MapReplica(seen.current, string(p.Node))
	switch {
	case p.Kind == planner.AddLearner:
		r, err := m.o.Map.Change(ctx, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_ReserveMapReplica{ReserveMapReplica: &peerv1.MetaReserveMapReplica{}}})
		if err != nil {
			return err
		}
		replica = &pb.Replica{NodeId: string(p.Node), Incarnation: r.GetIncarnation()}
		return m.orderMap(ctx, seen, group, peerv1.MemberChange_MEMBER_CHANGE_ADD_LEARNER, replica)
	case p.Kind == planner.Lead:
		return m.o.Groups.Transfer(ctx, group, p.Node)
	case replica == nil:
		return api.Errorf(api.CodeInternal, "the plan names node %s, which has no replica of the cluster map", p.Node)
	case p.Kind == planner.Promote:
		return m.orderMap(ctx, seen, group, peerv1.MemberChange_MEMBER_CHANGE_PROMOTE, replica)
	case p.Kind == planner.Remove:
		return m.orderMap(ctx, seen, group, peerv1.MemberChange_MEMBER_CHANGE_REMOVE, replica)
	}
	return api.Errorf(api.CodeInternal, "the plan has a step %d for the cluster map, which the master does not know", p.Kind)
}

// orderMap is order with the voters that must remain of the map's own size (MA4).
func (m *Master) orderMap(ctx context.Context, seen *observation, s *pb.Shard, change peerv1.MemberChange, r *pb.Replica) error {
	return m.o.Groups.Change(ctx, s, &peerv1.ChangeMembersRequest{
		GroupId: s.Id, Change: change, NodeId: r.NodeId, Incarnation: r.Incarnation,
		PreviousIndex: seen.reports[s.Id].GetIndex(), KeepVoters: seen.keepHolders(),
	})
}

// keepHolders is the quorum of the size that the group should have, as far as there are nodes for it.
func (seen *observation) keepHolders() uint32 {
	belong := 0
	for _, n := range seen.current.Nodes {
		if belongs(n) {
			belong++
		}
	}
	return uint32(min(belong, seen.wantedHolders())/2 + 1)
}

// troubleOfMap says what is wrong with the group of the map, whether or not anything can be done.
func (seen *observation) troubleOfMap() []string {
	group := mapGroup(seen.current)
	if len(group) == 0 {
		return nil
	}
	r := seen.reports[group[0].Id]
	if r == nil {
		return []string{"the cluster map: its leader has not said who its members are"}
	}
	voters, answer := 0, 0
	for _, member := range r.Members {
		if !member.Voter {
			continue
		}
		voters++
		if _, down := seen.down[member.NodeId]; !down && answers(member) {
			answer++
		}
	}
	if answer < voters {
		return []string{fmt.Sprintf("the cluster map: %d of its %d voters answer", answer, voters)}
	}
	return nil
}

// withoutHolders leaves out that a node is taken from the map which holds a replica of it.
func (seen *observation) withoutHolders(plan planner.Plan) planner.Plan {
	plan.Steps = slices.DeleteFunc(plan.Steps, func(s planner.Step) bool {
		return s.Kind == planner.Forget && meta.MapReplica(seen.current, string(s.Node)) != nil
	})
	return plan
}

// together is two plans for those who read them.
func together(a, b planner.Plan) planner.Plan {
	return planner.Plan{Steps: slices.Concat(a.Steps, b.Steps), Blocked: slices.Concat(a.Blocked, b.Blocked)}
}
