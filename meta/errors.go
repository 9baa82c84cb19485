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
		"run 'lightning-cli node replace' for that node and start again, or start under a new --name", e.Name, e.OldID)
}

// WrongClusterError refuses a node that belongs to another cluster than the nodes it asked.
type WrongClusterError struct {
	Cluster string // this node's
}

// Error says what happened and what to do.
func (e *WrongClusterError) Error() string {
	return fmt.Sprintf("this node belongs to cluster %s, the nodes that it found to another one: correct --join, --cluster-name or --data-dir", e.Cluster)
}

// RemovedNodeError refuses a node that was taken out of the cluster.
type RemovedNodeError struct {
	Name string
	ID   api.NodeID
}

// Error says what happened and what to do.
func (e *RemovedNodeError) Error() string {
	return fmt.Sprintf("the cluster has removed node %s (%q) for ever: its replicas are elsewhere and what its data directory holds is old. "+
		"Start a node with an empty --data-dir to join again", e.ID, e.Name)
}
