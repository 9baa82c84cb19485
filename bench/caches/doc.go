// Command caches runs traces of keys through cache policies and through the engine's own caches, and prints the shares of
// hits as Markdown tables, beside the optimum of Belady's rule. It measures no time: bench/engine does.
//
// The life of a measurement: package cachesim of the engine makes a trace from a fixed seed; each policy, a library among them,
// and the optimum read it; so two runs print the same, but for the library, which hashes keys with a seed of its own.
//
// Each key counts as one entry of equal size. "Known popularities" is a cache that is told how often each key will be read, and
// holds those with the most reads: where reads do not depend on each other this is what a policy can reach that
// does not know the future.
//
// Goroutines: one for each trace. Locks: none.
package main
