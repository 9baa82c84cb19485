package master

import (
	"context"
	"slices"
	"strings"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/meta/planner"
)

// explainShard says of a shard what the planner knows, as of the last look at the cluster.
func (m *Master) explainShard(_ context.Context, r *pb.ExplainShardRequest) (*pb.ExplainShardResponse, error) {
	m.mu.Lock()
	seen, refused := m.mu.seen, m.mu.refused[api.ShardID(r.ShardId)]
	m.mu.Unlock()
	if seen == nil {
		return nil, api.Errorf(api.CodeNotLeader, "node %s is not the master, or has not looked at the cluster yet", m.o.Self)
	}
	at := slices.IndexFunc(seen.current.Shards, func(s *pb.Shard) bool { return s.Id == r.ShardId })
	e, ok := planner.Explain(m.view(seen, seen.unfinished()), api.ShardID(r.ShardId))
	if at < 0 || !ok {
		return nil, api.Errorf(api.CodeInvalid, "the cluster has no shard %d", r.ShardId)
	}
	names, replace := make(map[api.NodeID]string), []string{}
	for _, n := range seen.current.Nodes {
		names[api.NodeID(n.Id)] = n.Name
		replace = append(replace, n.Id, n.Name)
	}
	named := strings.NewReplacer(replace...).Replace
	s := seen.current.Shards[at]
	out := &pb.ExplainShardResponse{
		ShardId: s.Id, StartSlot: s.StartSlot, EndSlot: s.EndSlot, Want: uint32(e.Want), ZoneLimit: uint32(e.ZoneLimit),
		LeaderId: string(e.Leader), LeaderWhy: named(e.LeaderWhy), DiskBytes: seen.reports[s.Id].GetDiskBytes(),
	}
	for _, x := range e.Places {
		out.Places = append(out.Places, &pb.ShardPlace{
			NodeId: string(x.Node), Name: names[x.Node], Zone: x.Zone, Holds: x.Holds, Claim: uint32(x.Claim),
			Replicas: uint32(x.Replicas), Least: uint32(x.Least), Most: uint32(x.Most), LoadPercent: uint32(max(0, x.Fill) / 10), Why: named(x.Why),
		})
	}
	if e.Next != nil {
		out.Next = named(e.Next.Text)
	}
	for _, text := range e.Waiting {
		out.Waiting = append(out.Waiting, named(text))
	}
	if refused != "" {
		out.Waiting = append(out.Waiting, named(refused))
	}
	return out, nil
}
