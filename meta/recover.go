package meta

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/meta/sealed"
	"github.com/lightning-db/lightning/raft"

	"github.com/lightning-db/lightning/internal/vfs"
)

// The map of a cluster that has lost a majority: see package recovery.

// State is a copy of what the machine has applied.
func (m *Machine) State() *peerv1.MetaState { return proto.CloneOf(m.now.Load().state) }

// Recovered says what becomes of a shard.
type Recovered struct {
	// Replica is the only one that the shard goes on with.
	Replica raft.ReplicaID
	// Split says that the split that the map notes is done.
	Split bool
	// Empty says that the shard begins with nothing: its replica is its founder.
	Empty bool
}

// Recovery says what becomes of a map.
type Recovery struct {
	ClusterID string
	// Revision is that of the new map.
	Revision uint64
	// Skip is how many numbers are not given out, because a later map that is lost may have given them out.
	Skip uint64
	// Lost are the nodes that never come back.
	Lost []string
	// Shards are all shards of the map, and the children of splits that are done.
	Shards map[uint64]Recovered
	// Position is where the new group of the map begins: its configuration has one member.
	Position raft.State
}

// Recover is the state of the map after a recovery. s is not changed.
func Recover(s *peerv1.MetaState, r Recovery) (*peerv1.MetaState, error) {
	s = proto.CloneOf(s)
	for _, shard := range slices.Clone(s.Map.GetShards()) {
		if !r.Shards[shard.Id].Split {
			continue
		}
		finish := &peerv1.MetaFinishSplit{ShardId: shard.Id, Epoch: shard.Split.GetEpoch(), ChildId: shard.Split.GetChildId()}
		if result := evaluateFinishSplit(s, finish); result.Code != peerv1.MetaCode_META_CODE_OK {
			return nil, fmt.Errorf("finish the split of shard %d: %s", shard.Id, result.Code)
		}
	}
	for _, shard := range s.Map.GetShards() {
		to, ok := r.Shards[shard.Id]
		if !ok {
			return nil, fmt.Errorf("shard %d has no replica to go on with", shard.Id)
		}
		recoverShard(shard, to)
	}
	for _, id := range r.Lost {
		s.Map.Nodes = slices.DeleteFunc(s.Map.Nodes, func(n *pb.Node) bool { return n.Id == id })
		if !slices.Contains(s.Map.RemovedNodeIds, id) {
			s.Map.RemovedNodeIds = append(s.Map.RemovedNodeIds, id)
		}
	}
	s.LastShardId += r.Skip
	s.LastOrdinal += uint32(r.Skip)
	s.FounderIds = nil // nobody may begin this cluster again
	setMetaReplicas(s, r.Position.Configuration)
	s.Map.ClusterId, s.Map.Revision = r.ClusterID, r.Revision
	s.Index, s.Term = uint64(r.Position.Index), uint64(r.Position.Term)
	s.Configuration = r.Position.Configuration.Marshal()
	return s, nil
}

// recoverShard leaves a shard with one replica. A split that is not done goes on with that one.
func recoverShard(shard *pb.Shard, to Recovered) {
	replica := func() *pb.Replica {
		return &pb.Replica{NodeId: string(to.Replica.Node), Incarnation: to.Replica.Incarnation}
	}
	shard.Replicas, shard.Founders = []*pb.Replica{replica()}, nil
	shard.LastIncarnation = max(shard.LastIncarnation, to.Replica.Incarnation)
	shard.PreferredLeader = string(to.Replica.Node)
	if to.Empty {
		shard.Founders = []*pb.Replica{replica()}
		shard.ParentId, shard.ParentEpoch = 0, 0
	}
	if shard.Split != nil {
		shard.Split.Replicas = []*pb.Replica{replica()}
	}
}

// WriteState writes a state as the file that OpenMachine reads.
func WriteState(fsys vfs.FS, dir string, s *peerv1.MetaState) error {
	if err := fsys.MkdirAll(dir); err != nil {
		return fmt.Errorf("make directory %s: %w", dir, err)
	}
	return sealed.Write(fsys, dir, stateFile, sealed.MetaState, s)
}

// SeenMap is the map that the node of a data directory saw last, nil if there is none or it is damaged.
func SeenMap(fsys vfs.FS, dir string) *pb.ClusterMap {
	seen := &pb.ClusterMap{}
	if found, err := sealed.Read(fsys, dir, mapFile, sealed.Map, seen); err != nil || !found {
		return nil
	}
	return seen
}

// WriteSeenMap writes a map as one that the node of a data directory saw last.
func WriteSeenMap(fsys vfs.FS, dir string, m *pb.ClusterMap) error {
	return sealed.Write(fsys, dir, mapFile, sealed.Map, m)
}
