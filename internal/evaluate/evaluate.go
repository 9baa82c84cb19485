package evaluate

import "github.com/lightning-db/lightning/api"

// Row is a key as an evaluation sees it.
type Row struct {
	Value []byte
	// Parts stands for Value when that is in parts, which Evaluator.Load brings.
	Parts   *api.Parts
	Version api.Version
	// ExpiryMillis is 0 when the key does not expire.
	ExpiryMillis uint64
	// Live is false for a key that is absent; then the rest is zero.
	Live bool
}

// Write is what an evaluated batch leaves behind for one key: each key once, in the order of the
// first write.
type Write struct {
	// Key is the user's key. It is the batch's memory.
	Key []byte
	// Row is the new row. If it is not Live the key is deleted.
	Row Row
}

// Evaluator runs one batch. Its zero value needs Version and Lookup.
type Evaluator struct {
	// Set by the caller before Run.

	// Version is that of the write; its milliseconds are the time of the evaluation.
	Version api.Version
	// Lookup finds the newest row of a user's key, and reports one that has expired as it is. Who
	// looks up keeps the value unchanged until the writes are done with.
	Lookup func(key []byte) (Row, error)
	// Load brings a value that is in parts. Who calls Run sets it if rows or operations have some.
	Load func(*api.Parts) ([]byte, error)
	// CarriedBefore is what the batches that are applied together with this one, and before it,
	// have carried.
	CarriedBefore int
	// Results is where Run puts the results of operations, if they fit into its capacity; it may
	// be nil.
	Results []api.OpResult

	writes []Write
	index  map[string]int // key -> index in writes; made when writes are many
	// carried is how many bytes the batch returns or writes that it did not bring itself.
	carried int

	long   map[string]state // keys with long values that were looked up (EV4); made with the first
	failed error            // of Lookup, when it was to find a long value again

	// firstOfStep is the length of writes when the step began, and saved the rows of older writes
	// that it has replaced since.
	firstOfStep int
	saved       []savedRow
}

// state is a key as one operation sees it.
type state struct {
	Row
	// length is that of the value. If the value is in parts, or is long and an earlier operation has
	// looked it up, it is left out of Row.
	length int
}

func stateOf(r Row) state {
	if r.Parts != nil {
		return state{r, int(r.Parts.Bytes)}
	}
	return state{r, len(r.Value)}
}

// longValue is from where on a value is not looked up again without need: reading one of 8 MiB
// takes milliseconds, and a batch may name its key a hundred thousand times. No number is as long.
const longValue = 8 << 10

// savedRow is what writes[at] was before a step replaced it.
type savedRow struct {
	at  int
	row Row
}

// MaxCarriedBytes bounds what batches that are applied together carry together. A small batch may
// carry 8 MiB; without a bound, the thousand commands of an entry would need 8 GiB of memory on
// every replica, and one engine batch could not hold what they write. Two times the bound of a
// single batch lets any one of them through.
const MaxCarriedBytes = 2 * api.MaxInlineBatchBytes

// indexFrom is the number of writes from which a map beats looking through the slice.
const indexFrom = 16

// failure is why a step was not applied.
type failure struct {
	at    int        // the operation, counted from the first of the step
	why   *api.Error // nil when its condition did not hold
	whole bool       // fails the batch, not only the step
}

// Run evaluates a batch that Check accepts. A refusal is an error of the caller's batch: nothing of
// it may be applied. err is what Lookup failed with.
func (e *Evaluator) Run(b *api.Batch) (_ api.Result, refusal *api.Error, err error) {
	res := api.Result{Applied: true, Version: e.Version, Ops: e.results(len(b.Ops))}
	for start := 0; start < len(b.Ops); {
		end := stepEnd(b, start)
		failed, err := e.step(b.Ops[start:end], res.Ops[start:end])
		switch {
		case err != nil:
			e.writes = nil
			return api.Result{}, nil, err
		case failed != nil && (failed.whole || !b.Independent):
			e.writes = nil
			if failed.why != nil {
				return api.Result{}, failed.why, nil
			}
			return notApplied(res.Ops[:start+failed.at+1]), nil, nil
		}
		start = end
	}
	return res, nil, nil
}

// results makes the results of a batch, empty.
func (e *Evaluator) results(count int) []api.OpResult {
	if cap(e.Results)-len(e.Results) < count {
		return make([]api.OpResult, count)
	}
	start := len(e.Results)
	e.Results = e.Results[:start+count]
	ops := e.Results[start : start+count : start+count]
	clear(ops)
	return ops
}

// Reset readies the evaluator for another batch. It keeps its memory, so that Writes of the last
// one must not be used any more.
func (e *Evaluator) Reset(v api.Version, carriedBefore int) {
	clear(e.writes)
	clear(e.saved)
	*e = Evaluator{
		Version: v, Lookup: e.Lookup, Load: e.Load, CarriedBefore: carriedBefore, Results: e.Results,
		writes: e.writes[:0], saved: e.saved[:0],
	}
}

// stepEnd is where the step that begins at start ends. A batch that is not independent is applied
// whole or not at all, so it is one step.
func stepEnd(b *api.Batch, start int) int {
	end := start + 1
	for end < len(b.Ops) && (b.Ops[end].Joined || !b.Independent) {
		end++
	}
	return end
}

// notApplied is the result of a batch that ended at the last of the given operations.
func notApplied(ops []api.OpResult) api.Result {
	for i := range ops {
		ops[i].Applied = false
	}
	return api.Result{FailedOp: len(ops) - 1, Ops: ops}
}

// step runs operations that are applied together. If one fails, none leaves a write behind (EV3).
func (e *Evaluator) step(ops []api.Op, results []api.OpResult) (*failure, error) {
	e.firstOfStep, e.saved = len(e.writes), e.saved[:0]
	for i := range ops {
		failed, err := e.operation(&ops[i], &results[i])
		if err == nil {
			err = e.failed
		}
		if err != nil {
			return nil, err
		}
		if failed != nil {
			failed.at = i
			if failed.why != nil {
				results[i].Code = failed.why.Code
			}
			e.undoStep()
			return failed, nil
		}
	}
	for i := range results {
		results[i].Applied = true
	}
	return nil, nil
}

// operation runs one operation: what it finds, its condition, what it does. An absent source comes
// before the condition, because RENAMENX of an absent key is an error whatever it would replace.
func (e *Evaluator) operation(op *api.Op, found *api.OpResult) (*failure, error) {
	if op.IsBlind() {
		e.put(op.Key, e.expiring(Row{Value: op.Value, Parts: op.Parts}, op.Expiry, Row{}))
		return nil, nil
	}
	current, err := e.current(op.Key)
	if err != nil {
		return nil, err
	}
	var source state
	if op.HasSource() {
		if source, err = e.current(op.Source); err != nil {
			return nil, err
		}
	}
	if refusal := e.describe(op, current, found); refusal != nil {
		return &failure{why: refusal, whole: true}, nil
	}
	if op.HasSource() && !source.Live {
		return &failure{why: ErrNotFound}, nil
	}
	if !e.holds(op, current.Row) {
		return &failure{whole: op.Kind == api.OpCheck}, nil
	}
	refusal := e.execute(op, current, source, found)
	if refusal != nil {
		return &failure{why: refusal, whole: refusal == ErrCarriesTooMuch || refusal == ErrOverloaded}, nil
	}
	return nil, nil
}

// describe fills in what the operation found.
func (e *Evaluator) describe(op *api.Op, current state, found *api.OpResult) *api.Error {
	found.Existed, found.PreviousVersion, found.PreviousExpiry = current.Live, current.Version, current.ExpiryMillis
	if current.Live && op.ReturnPrevious {
		if refusal := e.carry(current.length); refusal != nil {
			return refusal
		}
		found.Previous = append(make([]byte, 0, current.length), e.value(op.Key, current)...)
	}
	return nil
}

// Writes are what must change: nothing unless Run's result was applied.
func (e *Evaluator) Writes() []Write { return e.writes }

// Carried is how many bytes of values the batch returns or writes that it did not bring itself.
func (e *Evaluator) Carried() int { return e.carried }

// carry counts a value of n more bytes, and refuses what is over the bound of a value that is in memory in one piece, of
// the batch, or of those that are applied with it (EV2).
func (e *Evaluator) carry(n int) *api.Error {
	e.carried += n
	switch {
	case n > api.MaxWholeBytes || e.carried > api.MaxInlineBatchBytes:
		return ErrCarriesTooMuch
	case e.CarriedBefore+e.carried > MaxCarriedBytes:
		return ErrOverloaded
	}
	return nil
}

// current is the key as this operation must see it: logically live, or absent.
func (e *Evaluator) current(key []byte) (state, error) {
	if i := e.find(key); i >= 0 {
		return stateOf(e.writes[i].Row), nil
	}
	if s, ok := e.long[string(key)]; ok {
		return s, nil
	}
	r, err := e.Lookup(key)
	if err != nil || !r.Live || Expired(r.ExpiryMillis, e.Version.Millis()) {
		return state{}, err
	}
	if len(r.Value) >= longValue {
		if e.long == nil {
			e.long = make(map[string]state)
		}
		rest := r
		rest.Value = nil
		e.long[string(key)] = state{rest, len(r.Value)}
	}
	return stateOf(r), nil
}

// value is the value of a key, looked up again if it was left out. The caller has counted its
// bytes, which bounds how often that is. If it cannot be found the batch fails after the operation.
func (e *Evaluator) value(key []byte, s state) []byte {
	if len(s.Value) == s.length {
		return s.Value
	}
	if s.Parts != nil {
		value, err := e.Load(s.Parts)
		if err != nil {
			e.failed = err
			return nil
		}
		return value
	}
	r, err := e.Lookup(key)
	if err != nil {
		e.failed = err
	}
	return r.Value
}

func (e *Evaluator) find(key []byte) int {
	if e.index != nil {
		if i, ok := e.index[string(key)]; ok {
			return i
		}
		return -1
	}
	for i := range e.writes {
		if string(e.writes[i].Key) == string(key) {
			return i
		}
	}
	return -1
}

// put notes a write; a later one of the same key takes the place of the earlier, because a row is
// named by key and version.
func (e *Evaluator) put(key []byte, r Row) {
	r.Version = e.Version
	if !r.Live {
		r = Row{}
	}
	if i := e.find(key); i >= 0 {
		if i < e.firstOfStep {
			e.saved = append(e.saved, savedRow{at: i, row: e.writes[i].Row})
		}
		e.writes[i].Row = r
		return
	}
	e.writes = append(e.writes, Write{Key: key, Row: r})
	switch {
	case e.index != nil:
		e.index[string(key)] = len(e.writes) - 1
	case len(e.writes) == indexFrom:
		e.index = make(map[string]int, 2*indexFrom)
		for i := range e.writes {
			e.index[string(e.writes[i].Key)] = i
		}
	}
}

// undoStep takes back what was put since the step began.
func (e *Evaluator) undoStep() {
	for i := len(e.saved) - 1; i >= 0; i-- {
		e.writes[e.saved[i].at].Row = e.saved[i].row
	}
	if e.index != nil {
		for _, w := range e.writes[e.firstOfStep:] {
			delete(e.index, string(w.Key))
		}
	}
	e.writes = e.writes[:e.firstOfStep]
}
