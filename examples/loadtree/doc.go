// Command loadtree copies a directory tree into a Lightning cluster with an ordinary Redis
// client, through one node, and reads it back with the Go SDK, starting from another.
//
//	lightning-node dev                    # in another terminal
//	cd examples/loadtree && go run .      # the Go source tree: 11,500 files, 128 MB
//
// It is not a backup: nothing is deleted, and links and permissions are not kept.
//
// The life of a run:
//
//  1. List every regular file below --dir.
//  2. Load: SET path content, by --workers connections to --resp. What the cluster refuses because
//     it is over the limit of a value is counted apart and must not be there afterwards.
//  3. Scan all keys by gRPC from --grpc, and compare them with the paths.
//  4. Read every value and compare its SHA-256 with that of what was loaded.
//  5. Scan the keys with --prefix, and compare them, in order, with the paths that have it.
//
// Exit code 0 means that no difference was found, 1 that there is one or that something failed.
// Keys that were in the cluster before are differences, but those of an earlier run are not.
//
// It is a module of its own, so that the product does not depend on a Redis client.
//
// # Goroutines
//
// forEach starts the workers of a step and waits for them; it also starts, and stops, the ticker
// that prints the progress.
//
// # Locks
//
// failures.Mutex is a leaf.
package main
