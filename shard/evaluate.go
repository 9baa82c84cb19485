package shard

import (
	"math"
	"strconv"

	"github.com/lightning-db/lightning/api"
)

// row is a key as apply sees it.
type row struct {
	value        []byte
	version      api.Version
	expiryMillis uint64
	// live is false for a key that is absent, deleted or expired; then the rest is zero.
	live bool
}

// write is what an evaluated command leaves behind for one key.
type write struct {
	key []byte // engine key
	row row    // live false: delete
}

// evaluator runs the operations of one command one after another, each seeing what the ones
// before it did, on top of the rows that lookup finds. It changes nothing: if it succeeds, its
// writes are what must change. It is pure: no clock, no randomness, no order of a map (S1).
type evaluator struct {
	version api.Version
	// lookup finds the newest row of an engine key. It reports rows that have expired as they
	// are: the evaluator judges.
	lookup func(engineKey []byte) (row, error)

	// entryBytes is what the commands before it in the entry carried.
	entryBytes int

	writes []write
	index  map[string]int // engine key -> index in writes; made when writes are many
	// carried is how many bytes of stored values the command took up again: previous values for
	// its answer, and values that it writes once more with another expiry.
	carried int
}

// maxEntryCarriedBytes bounds what the commands of one entry carry together. A small command may
// carry 8 MiB; without a bound, the thousand commands of an entry would need 8 GiB of memory on
// every replica, and one engine batch could not hold what they write. Two times the bound of a
// single command lets any one of them through.
const maxEntryCarriedBytes = 2 * api.MaxBatchBytes

// carry counts n more bytes, and refuses what is over the bound of the command or of its entry.
func (e *evaluator) carry(n int) *api.Error {
	e.carried += n
	switch {
	case e.carried > api.MaxBatchBytes:
		return errCarriesTooMuch
	case e.entryBytes+e.carried > maxEntryCarriedBytes:
		return errEntryCarriesTooMuch
	}
	return nil
}

// indexFrom is the number of writes from which a map beats looking through the slice.
const indexFrom = 16

func (e *evaluator) run(b *api.Batch) (Answer, error) {
	res := api.Result{Applied: true, Version: e.version, Ops: make([]api.OpResult, 0, len(b.Ops))}
	for i := range b.Ops {
		op := &b.Ops[i]
		key := dataKey(b.Namespace, op.Key)
		current, err := e.current(key)
		if err != nil {
			return Answer{}, err
		}
		found, refusal := e.describe(op, current)
		if refusal != nil {
			return Answer{Err: refusal}, nil
		}
		if !holds(op.Condition, current) {
			return Answer{Result: api.Result{FailedOp: i, Ops: append(res.Ops, found)}}, nil
		}
		if refusal := e.execute(op, key, current, &found); refusal != nil {
			return Answer{Err: refusal}, nil
		}
		res.Ops = append(res.Ops, found)
	}
	return Answer{Result: res}, nil
}

// current is the key as this operation must see it: logically live, or absent.
func (e *evaluator) current(key []byte) (row, error) {
	if i := e.find(key); i >= 0 {
		return e.writes[i].row, nil
	}
	r, err := e.lookup(key)
	if err != nil {
		return row{}, err
	}
	if !r.live || expired(r.expiryMillis, e.version.Millis()) {
		return row{}, nil
	}
	return r, nil
}

// expired says whether an expiry has come at a time; an expiry of 0 never does.
func expired(expiryMillis, nowMillis uint64) bool {
	return expiryMillis != 0 && expiryMillis <= nowMillis
}

func (e *evaluator) find(key []byte) int {
	if e.index != nil {
		if i, ok := e.index[string(key)]; ok {
			return i
		}
		return -1
	}
	for i := range e.writes {
		if string(e.writes[i].key) == string(key) {
			return i
		}
	}
	return -1
}

// put notes a write; a later one of the same key takes the place of the earlier, because an
// engine row is named by key and version.
func (e *evaluator) put(key []byte, r row) {
	r.version = e.version
	if !r.live {
		r = row{}
	}
	if i := e.find(key); i >= 0 {
		e.writes[i].row = r
		return
	}
	e.writes = append(e.writes, write{key: key, row: r})
	switch {
	case e.index != nil:
		e.index[string(key)] = len(e.writes) - 1
	case len(e.writes) == indexFrom:
		e.index = make(map[string]int, 2*indexFrom)
		for i := range e.writes {
			e.index[string(e.writes[i].key)] = i
		}
	}
}

// describe fills in what the operation found.
func (e *evaluator) describe(op *api.Op, current row) (api.OpResult, *api.Error) {
	found := api.OpResult{Existed: current.live, PreviousVersion: current.version}
	if current.live && op.ReturnPrevious {
		if refusal := e.carry(len(current.value)); refusal != nil {
			return found, refusal
		}
		found.Previous = append(make([]byte, 0, len(current.value)), current.value...)
	}
	return found, nil
}

func holds(c api.Condition, current row) bool {
	switch c.Kind {
	case api.ConditionAbsent:
		return !current.live
	case api.ConditionPresent:
		return current.live
	case api.ConditionVersion:
		return current.version == c.Version
	default:
		return true
	}
}

func (e *evaluator) execute(op *api.Op, key []byte, current row, found *api.OpResult) *api.Error {
	switch op.Kind {
	case api.OpPut:
		expiry, alive := e.expiry(op.Expiry, current)
		e.put(key, row{value: op.Value, expiryMillis: expiry, live: alive})
	case api.OpDelete:
		if current.live {
			e.put(key, row{})
		}
	case api.OpIncrement:
		n, ok := add(current, op.Delta)
		if !ok {
			return errNotInteger
		}
		found.Number = n
		e.put(key, row{value: strconv.AppendInt(nil, n, 10), expiryMillis: current.expiryMillis, live: true})
	case api.OpExpire:
		if !current.live {
			return nil
		}
		expiry, alive := e.expiry(op.Expiry, current)
		if alive && expiry == current.expiryMillis {
			return nil
		}
		if refusal := e.carry(len(current.value)); refusal != nil {
			return refusal
		}
		e.put(key, row{value: current.value, expiryMillis: expiry, live: alive})
	}
	return nil
}

// expiry turns a wish into an absolute expiry, 0 for none. alive is false when that expiry has
// already come: the key is then deleted at once, as Redis does.
func (e *evaluator) expiry(wish api.Expiry, current row) (millis uint64, alive bool) {
	now := e.version.Millis()
	switch wish.Mode {
	case api.ExpiryKeep:
		return current.expiryMillis, true
	case api.ExpiryAt:
		millis = wish.Millis
	case api.ExpiryAfter:
		if millis = now + wish.Millis; millis < now {
			millis = math.MaxUint64
		}
	default:
		return 0, true
	}
	return millis, millis > now
}

// add is the sum of what the key holds and delta. An absent key counts as 0. Only the one
// decimal text that AppendInt would write counts as an integer, as in Redis.
func add(current row, delta int64) (int64, bool) {
	var n int64
	if current.live {
		const longest = len("-9223372036854775808")
		if len(current.value) > longest {
			return 0, false
		}
		text := string(current.value)
		var err error
		if n, err = strconv.ParseInt(text, 10, 64); err != nil || strconv.FormatInt(n, 10) != text {
			return 0, false
		}
	}
	sum := n + delta
	if (delta > 0) != (sum > n) && delta != 0 {
		return 0, false
	}
	return sum, true
}
