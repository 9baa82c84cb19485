// Package api is what clients, servers and shards agree on: identifiers, operations, limits,
// the error table, and the protobuf services in lightningv1 (public) and peerv1 (between nodes).
//
// It is a leaf: it imports nothing of this module but its own generated code, and holds no
// mechanism. A type belongs here when a user of the SDK must name it or when it crosses the
// wire between two packages that must not import each other.
package api
