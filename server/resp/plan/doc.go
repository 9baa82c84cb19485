// Package plan says what every Redis command on named keys comes to: the operations of one batch,
// and how their results become the reply.
//
// It runs nothing: package resp hands a plan's operations to the store, alone or together with
// those of the other commands of a MULTI block, and the results back to the plan. Commands about
// the connection, the node or all keys have no plan.
//
// # The life of a plan
//
//  1. A row's Make reads the arguments and returns the operations, or the error that Redis
//     answers before it looks at any key.
//  2. Somebody runs the operations as steps of an independent batch, or reads the keys if
//     Plan.ReadsOnly.
//  3. Plan.Finish makes the reply of the results. What Redis finds out only when it has looked at
//     the key, such as a wrong range of a key that exists, is an error here.
//
// # Goroutines
//
// None.
//
// # Locks
//
// None.
//
// # Invariants
//
//   - UP1: a plan is a function of its arguments and its Env; it uses no keys but those that its
//     row names.
//   - UP2: Finish that returns an error has written nothing.
//   - UP3: a plan that reads only replies the same to a read of its keys and to a batch.
//   - UP4: the memory and the work of a reply are bounded: by the values, and for LCS by
//     maxLCSCells.
package plan
