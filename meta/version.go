package meta

import (
	"fmt"
	"slices"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// ClusterVersion is what a map allows nodes to write. 0 stands for 1, in the map and in what nodes know.
func ClusterVersion(m *pb.ClusterMap) uint32 { return max(m.GetClusterVersion(), 1) }

// Newest is the newest cluster version that a node knows.
func Newest(n *pb.Node) uint32 { return max(n.GetNewestClusterVersion(), 1) }

// behind are the names of the nodes that do not know a cluster version. Lost ones do not count: they never come back.
func behind(m *pb.ClusterMap, version uint32) []string {
	var names []string
	for _, n := range m.GetNodes() {
		if Newest(n) < version && !seededbug.Enabled(seededbug.MetaRaiseEarly) && n.GetState() != pb.NodeState_NODE_STATE_LOST {
			names = append(names, n.GetName())
		}
	}
	slices.Sort(names)
	return names
}

// mayRaise says why the cluster version cannot be raised to one, empty when it can: it goes up by one, and every node has to know it (M20).
func mayRaise(m *pb.ClusterMap, version uint32) string {
	now := ClusterVersion(m)
	if version != now+1 {
		return fmt.Sprintf("the cluster is at version %d: it is raised by one at a time", now)
	}
	if names := behind(m, version); len(names) > 0 {
		return fmt.Sprintf("nodes %v run builds that do not know cluster version %d: upgrade them first", names, version)
	}
	return ""
}

// MayRaise is why a map cannot be raised to a cluster version, empty when it can or is there.
func MayRaise(m *pb.ClusterMap, version uint32) string {
	if version == ClusterVersion(m) {
		return ""
	}
	return mayRaise(m, version)
}

func evaluateRaiseClusterVersion(s *peerv1.MetaState, c *peerv1.MetaRaiseClusterVersion) *peerv1.MetaResult {
	if c.GetVersion() == ClusterVersion(s.Map) {
		return result(peerv1.MetaCode_META_CODE_OK)
	}
	if mayRaise(s.Map, c.GetVersion()) != "" {
		return result(peerv1.MetaCode_META_CODE_CONFLICT)
	}
	s.Map.ClusterVersion, s.Map.Revision = c.GetVersion(), s.Map.Revision+1
	return result(peerv1.MetaCode_META_CODE_OK)
}

// skew refuses a node whose build cannot work at the version of the cluster: an older one would stop at the first new entry, and one that is
// newer by two may not write what the cluster's version reads.
func skew(m *pb.ClusterMap, n *pb.Node) *peerv1.MetaResult {
	switch v := ClusterVersion(m); {
	case Newest(n) < v:
		return &peerv1.MetaResult{Code: peerv1.MetaCode_META_CODE_TOO_OLD, ClusterVersion: v}
	case Newest(n) > v+1:
		return &peerv1.MetaResult{Code: peerv1.MetaCode_META_CODE_TOO_NEW, ClusterVersion: v}
	}
	return nil
}

// VersionError refuses a node whose build does not fit the version of the cluster.
type VersionError struct {
	Newest  uint32 // that the build knows
	Cluster uint32
}

// Error says what happened and what to do.
func (e *VersionError) Error() string {
	if e.Newest < e.Cluster {
		return fmt.Sprintf("the cluster is at version %d, and this build knows versions up to %d: run a newer build on this node", e.Cluster, e.Newest)
	}
	return fmt.Sprintf("the cluster is at version %d, and this build works at versions %d and %d: run the build before it first, and raise the cluster's version",
		e.Cluster, e.Newest-1, e.Newest)
}
