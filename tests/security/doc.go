// Package security holds the tests of who may talk to a cluster of real processes: every gRPC method,
// every Redis command and every HTTP route, asked for by strangers; nodes that are none; certificates,
// passwords and gossip keys that are replaced under load; settings that are refused.
//
// It has no code of its own but tests. What packages promise about passwords and certificates is
// tested beside them.
//
// The life of a refusal: the list of what there is comes from a live node, by reflection and COMMAND
// LIST, so that nothing new can be forgotten; each entry is asked for as a stranger asks; the answer
// must be the refusal and nothing else.
//
// # Goroutines
//
// Writers of the rotation, which end before the counts are compared.
//
// # Locks
//
// None.
//
// # Invariants
//
//	BA1 Whatever a live node lists is asked for; nothing is left out by name, but what is open.
//	BA2 A rotation is followed by proof that the old material is refused.
package security
