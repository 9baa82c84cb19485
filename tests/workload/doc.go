// Package workload is the clients of the tests: they speak the product's protocols without any
// retry of their own and say exactly what is known about each request.
//
// It is not the SDK, which hides redirections and retries on purpose; tests of the SDK use the SDK.
//
// The life of an operation: a worker chooses an Input, Recorder.Begin notes it, Perform sends it
// through a Store (one node, one protocol), Outcome classifies the error, the recorder is told.
//
// # Goroutines
//
// Registers.Run and Writers.Run start their workers and return when all have ended, which they do
// when the context does and the requests in flight have their deadlines behind them.
//
// # Locks
//
// Writers.mu is a leaf. Stores belong to one worker each.
//
// # Invariants
//
//	W1 Outcome says Failed only if the product or the operating system said that nothing ran.
//	   Everything else that is not an answer is Unknown.
//	W2 Every value that is written is unique within its test.
package workload
