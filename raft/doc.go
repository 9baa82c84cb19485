// Package raft runs many hashicorp/raft groups on one node.
package raft
