// Package ghost remembers what a cache has dropped, by fingerprints: so a cache knows what comes back, and what more room would have been worth.
//
// It is no set: it forgets, and may take one thing for another with the same fingerprint. It is not safe for concurrent use: a cache has one
// for each lock.
//
// The life of a fingerprint: Note puts it into the place that a part of it names, over what was there. Returns finds it when the same thing comes
// again, counts that, and takes it out. So the places reach back about as many drops as they are.
//
// Goroutines and Locks: none.
//
// # Invariants
//
//   - GH1: what Returns finds was noted since it was found last, or has the fingerprint of what was.
//   - GH2: Count is the number of places that are taken, and never more than there are.
package ghost
