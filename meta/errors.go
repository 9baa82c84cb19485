package meta

import (
	"fmt"

	"github.com/lightning-db/lightning/api"
)

// KnownNameError refuses a node whose name belongs to another node of the cluster, as happens
// when a data directory was lost.
type KnownNameError struct {
	Name  string
	OldID api.NodeID
}

// Error says what happened and what to do.
func (e *KnownNameError) Error() string {
	return fmt.Sprintf("the cluster knows the name %q as node %s, which this data directory is not. "+
		"If that node's data directory still exists, start with it. If it was lost, its votes were lost with it: "+
		"start the replacement under a new --name, with this or another empty data directory", e.Name, e.OldID)
}

// WrongClusterError refuses a node that belongs to another cluster than the nodes it asked.
type WrongClusterError struct {
	Cluster string // this node's
}

// Error says what happened and what to do.
func (e *WrongClusterError) Error() string {
	return fmt.Sprintf("this node belongs to cluster %s, the nodes that it found to another one: correct --join, --cluster-name or --data-dir", e.Cluster)
}
