package pledge

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/meta/sealed"
)

// The ids of clusters.
//
// A cluster forms under a random UUID. One that lost a majority and was recovered goes on under
// "<UUID>+<generation>.<mark>": every generation is of the same cluster, and a node of an earlier one must not
// take part in a later one. The mark keeps two recoveries of the same generation apart.

// NextID is the id under which a cluster goes on after a recovery.
func NextID(id, mark string) string {
	base, generation := lineage(id)
	return fmt.Sprintf("%s+%d.%s", base, generation+1, mark)
}

// Supersedes reports whether the cluster id came out of the cluster other by a recovery.
func Supersedes(id, other string) bool {
	base, generation := lineage(id)
	otherBase, before := lineage(other)
	return base != "" && base == otherBase && generation > before
}

func lineage(id string) (base string, generation uint64) {
	base, rest, found := strings.Cut(id, "+")
	if !found {
		return id, 0
	}
	number, _, _ := strings.Cut(rest, ".")
	generation, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return id, 0
	}
	return base, generation
}

// WriteCluster writes that the node of a data directory belongs to c. The node must be stopped.
func WriteCluster(fsys vfs.FS, dir string, c Cluster) error {
	return sealed.Write(fsys, dir, clusterFile, sealed.Cluster, c.record())
}

// ReadCluster is the cluster that the node of a data directory belongs to, nil for none.
func ReadCluster(fsys vfs.FS, dir string, self api.NodeID) (*Cluster, error) {
	s, err := OpenStore(fsys, dir, self, "", 0)
	if err != nil {
		return nil, err
	}
	return s.State().Cluster, nil
}
