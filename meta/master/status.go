package master

import (
	"fmt"
	"slices"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/meta"
	"github.com/lightning-db/lightning/meta/planner"
)

// progress is how far the changes of a shard are, and since when.
type progress struct {
	mark  string
	since time.Time
}

// stuckAfter is how long a change may stand still before it is shown as stuck: longer than the largest replica
// takes between two steps that show.
const stuckAfter = 10 * time.Minute

// remember keeps what was seen for whoever asks.
func (m *Master) remember(seen *observation, plan planner.Plan) {
	now := m.o.Clock.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	since := make(map[api.ShardID]progress)
	for _, s := range seen.groups() {
		mark := seen.mark(s)
		if mark == "" {
			continue
		}
		p := m.mu.since[api.ShardID(s.Id)]
		if p.mark != mark {
			p = progress{mark: mark, since: now}
		}
		since[api.ShardID(s.Id)] = p
	}
	for id := range m.mu.refused {
		if since[id].mark == "" && !slices.ContainsFunc(plan.Steps, func(s planner.Step) bool { return s.Shard == id }) {
			delete(m.mu.refused, id) // nothing of it is wanted any more
		}
	}
	m.mu.seen, m.mu.plan, m.mu.since = seen, plan, since
}

// mark changes whenever a change of a shard makes progress. It is empty for a shard that has none.
func (seen *observation) mark(s *pb.Shard) string {
	mark := ""
	for _, moving := range seen.moving(s) {
		have := moving.Have
		if moving.Phase == "removing" {
			have = 0 // that it follows the log is no progress
		}
		mark += fmt.Sprint(moving.NodeId, moving.Phase, have, " ")
	}
	if s.Split != nil {
		mark += fmt.Sprint("split ", s.Split.ChildId)
	}
	return mark
}

// moving lists the replicas of a shard that come or go.
func (seen *observation) moving(s *pb.Shard) []*pb.Moving {
	var list []*pb.Moving
	r := seen.reports[s.Id]
	for _, replica := range s.Replicas {
		member := memberOf(r, replica)
		out := &pb.Moving{ShardId: s.Id, NodeId: replica.NodeId, Have: member.GetLastLogIndex(), Want: r.GetLastLogIndex()}
		switch {
		case replica.Leaving:
			out.Phase = "removing"
		case replica.Learner && member == nil:
			out.Phase = "adding"
		case replica.Learner:
			out.Phase = "catching up"
		default:
			continue
		}
		list = append(list, out)
	}
	return list
}

// Status is what the master sees and does. Other nodes answer NOT_LEADER.
func (m *Master) Status() (*pb.ClusterStatusResponse, error) {
	m.mu.Lock()
	seen, plan, refused := m.mu.seen, m.mu.plan, m.refusalsLocked()
	m.mu.Unlock()
	if seen == nil || !m.o.Map.Leads() {
		return nil, api.Errorf(api.CodeNotLeader, "node %s is not the master, or has not looked at the cluster yet", m.o.Self)
	}
	numbers := planner.Report(m.view(seen, seen.unfinished()))
	out := &pb.ClusterStatusResponse{MasterId: string(m.o.Self), Revision: seen.current.Revision, RebalancePaused: seen.current.RebalancePaused, ClusterVersion: meta.ClusterVersion(seen.current)}
	for _, id := range numbers.UnderReplicated {
		out.UnderReplicated = append(out.UnderReplicated, uint64(id))
	}
	for _, s := range seen.current.Shards {
		if seen.reports[s.Id] == nil {
			out.Silent = append(out.Silent, s.Id)
		}
		out.Moving = append(out.Moving, seen.moving(s)...)
		if s.Split != nil {
			out.Splitting = append(out.Splitting, &pb.Splitting{ShardId: s.Id, ChildId: s.Split.ChildId, AtSlot: s.Split.AtSlot})
		}
	}
	for _, s := range mapGroup(seen.current) {
		out.Moving = append(out.Moving, seen.moving(s)...)
	}
	out.Blocked = seen.troubleOfMap()
	for _, b := range plan.Blocked {
		out.Blocked = append(out.Blocked, b.Text)
	}
	out.Blocked = append(out.Blocked, refused...)
	for _, s := range plan.Steps {
		out.Planned = append(out.Planned, s.Text)
	}
	for _, n := range seen.current.Nodes {
		out.Nodes = append(out.Nodes, seen.summary(n))
	}
	return out, nil
}

func (seen *observation) summary(n *pb.Node) *pb.NodeSummary {
	down, silent := seen.down[n.Id]
	out := &pb.NodeSummary{
		NodeId: n.Id, Name: n.Name, State: n.State, Zone: n.Zone, Alive: !silent, DownMillis: down.Milliseconds(),
		HoldsMap: meta.MapReplica(seen.current, n.Id) != nil, NewestClusterVersion: meta.Newest(n),
	}
	for _, s := range seen.current.Shards {
		if slices.ContainsFunc(s.Replicas, func(r *pb.Replica) bool { return r.NodeId == n.Id }) {
			out.Replicas++
		}
		if seen.reports[s.Id].GetLeaderId() == n.Id {
			out.Leaders++
		}
	}
	return out
}

// Gauges are the figures that alerts look at.
type Gauges struct {
	UnderReplicated, Stuck, DeadUnreplaced int
	LeaderImbalance                        float64
}

// Gauges are those of the master; ok is false on other nodes.
func (m *Master) Gauges() (g Gauges, ok bool) {
	m.mu.Lock()
	seen := m.mu.seen
	now := m.o.Clock.Now()
	for _, p := range m.mu.since {
		if now.Sub(p.since) > stuckAfter {
			g.Stuck++
		}
	}
	m.mu.Unlock()
	if seen == nil {
		return Gauges{}, false
	}
	numbers := planner.Report(m.view(seen, nil))
	g.UnderReplicated, g.DeadUnreplaced, g.LeaderImbalance = len(numbers.UnderReplicated), len(numbers.DeadUnreplaced), numbers.LeaderImbalance
	return g, true
}
