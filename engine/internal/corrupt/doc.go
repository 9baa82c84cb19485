// Package corrupt is the error that says that stored bytes are damaged: which file, where, what
// was expected and what was found.
//
// It is not a checksum library: the decoders check, this package only names what they found.
// The main operation is one call, Sum or Shape, at the place that noticed; the error travels
// unchanged to the caller of the engine, who sees it as engine.CorruptionError.
//
// Goroutines: none. Locks: none.
//
// Invariants:
//
//	D1 an Error never contains bytes of a key or a value.
package corrupt
