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
	return fmt.Sprintf("the cluster knows %q as node %s, which this data directory is not: if the directory of that node was lost, "+
		"start the replacement under a new --name, the lost node's votes died with its disk; if it was only moved, restore it and start again", e.Name, e.OldID)
}

// WrongClusterError refuses a node that belongs to another cluster.
type WrongClusterError struct {
	Ours, Theirs string
}

// Error implements error.
func (e *WrongClusterError) Error() string {
	return fmt.Sprintf("this node belongs to cluster %s, the nodes it found to %s: correct --join or --cluster-name", e.Ours, e.Theirs)
}
