package recovery

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/meta"
	"github.com/lightning-db/lightning/raft"
)

// chooseMap finds the map to go on with: that of the best replica, or the newest that was seen if no replica is left.
func (p *planner) chooseMap() error {
	g, best, ok := p.choose(uint64(raft.MetaGroup), 0)
	p.old = &peerv1.MetaState{}
	if ok {
		if err := proto.Unmarshal(best.State, p.old); err != nil {
			return fmt.Errorf("read the cluster map of node %s: %w", best.node, err)
		}
	} else if err := p.mapAsSeen(&g); err != nil {
		return err
	}
	m := p.old.Map
	if len(m.GetShards()) == 0 || m.GetClusterId() != p.plan.OldCluster {
		return errors.New("the cluster map has no shards yet: form the cluster again with empty data directories")
	}
	for _, n := range m.Nodes {
		p.known[n.Id] = n
	}
	if p.known[g.Node] == nil {
		return fmt.Errorf("the cluster map of node %s does not have that node: restore the cluster from a backup", g.Node)
	}
	g.Incarnation = max(g.Incarnation, p.old.LastMapIncarnation+skip)
	p.plan.Groups = append(p.plan.Groups, g)
	return nil
}

// mapAsSeen makes a state of the newest map that a node saw. What it does not show begins beyond what it shows.
func (p *planner) mapAsSeen(g *Group) error {
	var newest *pb.ClusterMap
	for _, v := range p.views {
		var seen pb.ClusterMap
		if err := proto.Unmarshal(v.SeenMap, &seen); err != nil {
			return fmt.Errorf("read the map that node %s saw last: %w", v.Node, err)
		}
		if seen.ClusterId == p.plan.OldCluster && seen.Revision > newest.GetRevision() {
			newest, g.Node = &seen, v.Node
		}
	}
	if newest == nil {
		return errors.New("nothing is left of the cluster map: restore the cluster from a backup")
	}
	p.old.Map, p.old.ShardCount = newest, uint32(len(newest.Shards))
	for _, n := range newest.Nodes {
		p.old.LastOrdinal = max(p.old.LastOrdinal, n.Ordinal)
	}
	for _, s := range meta.ShardsOf(newest) {
		p.old.LastShardId = max(p.old.LastShardId, s.Id)
	}
	for _, r := range newest.MetaReplicas {
		p.old.LastMapIncarnation = max(p.old.LastMapIncarnation, r.Incarnation)
	}
	g.Last, g.Voters = skip, len(newest.MetaReplicas)
	g.Notes = append(g.Notes, fmt.Sprintf("no replica of the cluster map is left: it goes on as node %s saw it last, at revision %d", g.Node, newest.Revision))
	return nil
}

// chooseShards finds the replicas that the shards go on with.
func (p *planner) chooseShards() error {
	shards := slices.Clone(p.old.Map.Shards)
	for i := 0; i < len(shards); i++ {
		child, err := p.chooseShard(shards[i])
		if err != nil {
			return err
		}
		if child != nil {
			shards = append(shards, child)
		}
	}
	if len(p.lost.Shards) > 0 {
		slices.Sort(p.lost.Shards)
		return &p.lost
	}
	for _, id := range p.o.AcceptEmpty {
		at := slices.IndexFunc(p.plan.Groups, func(g Group) bool { return g.Group == id })
		if at <= 0 || p.plan.Groups[at].From != 0 {
			return fmt.Errorf("shard %d cannot begin empty: something of it is left, or the map does not have it", id)
		}
	}
	return nil
}

// chooseShard finds the replica of one shard. It returns the shard that is split off if that is done.
func (p *planner) chooseShard(s *pb.Shard) (child *pb.Shard, err error) {
	g, best, ok := p.choose(s.Id, s.LastIncarnation)
	next := meta.Recovered{}
	switch {
	case !ok && !slices.Contains(p.o.AcceptEmpty, s.Id):
		p.lost.Shards, p.lost.Notes = append(p.lost.Shards, s.Id), append(p.lost.Notes, g.Notes...)
		return nil, nil
	case !ok:
		g.Node, g.Epoch, next.Empty = p.idlest(), s.Epoch, true
		g.Voters = len(s.Replicas)
		p.load[g.Node]++
	case s.Split != nil && g.Epoch == s.Split.Epoch+1:
		next.Split = true
		if child = splitOff(p.old.Map, s); slices.Contains(best.Children, child.Id) {
			if usable, _ := p.candidates(child.Id); len(usable) == 0 {
				return nil, fmt.Errorf("shard %d was being split, and no node that is left has made its replica of shard %d yet: restore the cluster from a backup", s.Id, child.Id)
			}
		}
	case g.Epoch != 0 && g.Epoch != s.Epoch:
		return nil, fmt.Errorf("shard %d is at epoch %d on node %s and at epoch %d in the cluster map that is left: they are of before and after a split. Restore the cluster from a backup",
			s.Id, g.Epoch, g.Node, s.Epoch)
	}
	next.Replica = raft.ReplicaID{Node: api.NodeID(g.Node), Incarnation: g.Incarnation}
	p.next[s.Id] = next
	p.plan.Groups = append(p.plan.Groups, g)
	return child, nil
}

// splitOff is the child of a split that the map notes.
func splitOff(m *pb.ClusterMap, parent *pb.Shard) *pb.Shard {
	shards := meta.ShardsOf(m)
	return shards[slices.IndexFunc(shards, func(s *pb.Shard) bool { return s.Id == parent.Split.ChildId })]
}

// idlest is the node that was given the fewest replicas.
func (p *planner) idlest() string {
	var nodes []string
	for _, v := range p.views {
		if p.known[v.Node] != nil {
			nodes = append(nodes, v.Node)
		}
	}
	return slices.MinFunc(nodes, func(a, b string) int { return cmp.Or(cmp.Compare(p.load[a], p.load[b]), cmp.Compare(a, b)) })
}

// finish names the nodes and makes the new map.
func (p *planner) finish() error {
	left := map[string]bool{}
	revision := p.old.Map.Revision
	for _, v := range p.views {
		left[v.Node] = true
		view, err := v.digest()
		if err != nil {
			return err
		}
		p.plan.Nodes = append(p.plan.Nodes, Node{ID: v.Node, Name: p.known[v.Node].GetName(), View: view})
		var seen pb.ClusterMap
		if proto.Unmarshal(v.SeenMap, &seen) == nil {
			revision = max(revision, seen.Revision)
		}
	}
	r := meta.Recovery{ClusterID: p.plan.NewCluster, Revision: revision + skip, Skip: skip, Shards: p.next, Position: p.plan.Groups[0].position()}
	for _, n := range p.old.Map.Nodes {
		if !left[n.Id] {
			p.plan.Lost = append(p.plan.Lost, Node{ID: n.Id, Name: n.Name})
			r.Lost = append(r.Lost, n.Id)
		}
	}
	state, err := meta.Recover(p.old, r)
	if err != nil {
		return fmt.Errorf("make the new cluster map: %w", err)
	}
	p.plan.State, err = proto.MarshalOptions{Deterministic: true}.Marshal(state)
	return err
}

// position is where the group goes on: at an entry behind the last one that makes the replica its only member.
func (g *Group) position() raft.State {
	at := api.Index(g.Last + 1)
	return raft.State{Index: at, Term: api.Term(g.Term), Configuration: raft.Configuration{
		Index: at, Servers: []raft.Server{{Replica: raft.ReplicaID{Node: api.NodeID(g.Node), Incarnation: g.Incarnation}, Voter: true}},
	}}
}
