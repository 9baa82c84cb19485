// Package meta is the cluster map: a replicated state machine and the ways to follow it.
package meta
