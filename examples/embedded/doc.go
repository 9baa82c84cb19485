// Command embedded counts words in a directory, with the engine and nothing else: no server, no network, one small program.
//
//	go run ./examples/embedded -dir /tmp/words the cat saw the dog
//	go run ./examples/embedded -dir /tmp/words -top 3
//
// It is not a word counter for large texts: it shows what a program does that embeds the engine. The life of a
// call is run: open with a profile, count in a transaction, walk over a snapshot, close. Its test
// holds the stripped program to 5 MB.
//
// # Goroutines
//
// Those of the engine; closing it ends them.
//
// # Locks
//
// None.
package main
