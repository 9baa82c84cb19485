// Package evaluate is what a batch means: it runs operations on rows, and says what they found
// and what must change. The shard's apply, the embedded client and the stores of tests share it,
// so that an operation does the same everywhere.
//
// It is not a store and not a state machine: it has no clock, no lock, no disk and no randomness,
// and knows neither slots nor request ids. It changes nothing itself.
//
// # How to use it
//
//	bytes, refusal := evaluate.Check(&batch)      // the form and the limits
//	e := evaluate.Evaluator{Version: v, Lookup: newestRow}
//	result, refusal, err := e.Run(&batch)         // err is Lookup's
//	for _, w := range e.Writes() { ... }          // none unless the batch was applied
//
// One Evaluator runs one batch, and nothing else may change the rows until its writes are there.
// The version is that of the write, and its milliseconds are the time by which expiries are judged
// and relative ones are made absolute. Lookup finds the newest row of a user's key, an expired one
// too: the evaluator judges.
//
// # The life of a batch
//
//  1. The batch is cut into steps: an operation and the ones after it that are Joined. A batch that
//     is not independent is a single step.
//  2. Each operation of a step sees what the ones before it wrote. It describes what it found, its
//     condition is checked, and it adds to the writes.
//  3. A step that fails takes back its own writes. In a batch that is not independent, and for an
//     OpCheck whose condition does not hold, that ends the batch with no writes at all.
//
// # Bounds
//
// A small operation may take up a large stored value: to return it, or to write it once more with
// another expiry. These bytes are counted, for the batch and for the batches that are applied
// with it, and refused above a bound (EV2). To look a large value up takes time, too: what only
// asks about one that the batch has come upon before does not read it again (EV4).
//
// # Goroutines, locks
//
// None. An Evaluator belongs to one goroutine.
//
// # Invariants
//
//   - EV1: the outcome depends on the batch, the version and the rows alone.
//   - EV2: what a batch returns and writes beyond its own bytes is at most api.MaxInlineBatchBytes, and is
//     counted before it is allocated.
//   - EV3: a step that failed leaves no write behind.
//   - EV4: a long value is looked up once for each key of a batch, and again only for bytes that
//     EV2 has counted.
package evaluate
