// Command notes keeps a list of notes in a directory, without any server. With -addr the same
// code keeps them in a cluster.
//
//	go run ./examples/notes -dir /tmp/notes "buy milk"
//	go run ./examples/notes -addr 127.0.0.1:8379 "buy milk"    # with lightning-node dev running
//
// It is not a note keeper: it shows that code which takes an api.KV runs on both. The life of a
// note is the function add.
//
// # Goroutines
//
// Those of the engine or of the client; closing them ends them.
//
// # Locks
//
// None.
package main
