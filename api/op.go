package api

// OpKind says what an operation does.
type OpKind uint8

// The operations. Their numbers are part of the entry format.
const (
	OpPut       OpKind = 1
	OpDelete    OpKind = 2
	OpIncrement OpKind = 3
	// OpExpire changes the expiry of a key that exists and leaves its value.
	OpExpire OpKind = 4
)

// ExpiryMode says how an operation sets the expiry. The numbers are part of the entry format.
type ExpiryMode uint8

// The expiry modes.
const (
	// ExpiryNone: the key does not expire. With OpExpire the expiry is removed.
	ExpiryNone ExpiryMode = 0
	// ExpiryKeep keeps the expiry the key has. OpIncrement always keeps.
	ExpiryKeep ExpiryMode = 1
	// ExpiryAt: Millis since the Unix epoch.
	ExpiryAt ExpiryMode = 2
	// ExpiryAfter: Millis from the shard's time at apply, so that the clock of the node that
	// the client happens to talk to does not matter.
	ExpiryAfter ExpiryMode = 3
)

// Expiry is an operation's wish for the expiry of its key.
type Expiry struct {
	Mode   ExpiryMode
	Millis uint64
}

// ConditionKind is what must hold for a batch to be applied. The numbers are part of the entry format.
type ConditionKind uint8

// The conditions.
const (
	ConditionNone    ConditionKind = 0
	ConditionAbsent  ConditionKind = 1
	ConditionPresent ConditionKind = 2
	// ConditionVersion: the key's version is Condition.Version; 0 means absent.
	ConditionVersion ConditionKind = 3
)

// Condition guards one operation. If any guard of a batch fails, nothing of it is applied.
type Condition struct {
	Kind    ConditionKind
	Version Version
}

// Op is one operation on one key. The caller owns Key and Value; callees copy what they keep.
type Op struct {
	Kind           OpKind
	Key            []byte
	Value          []byte // OpPut
	Delta          int64  // OpIncrement
	Expiry         Expiry
	Condition      Condition
	ReturnPrevious bool
}

// OpResult is what one operation found and did.
type OpResult struct {
	Existed         bool    // before the operation
	Previous        []byte  // only with ReturnPrevious
	PreviousVersion Version // 0 when absent
	Number          int64   // after OpIncrement
}

// Batch is a list of operations that are applied together or not at all. All keys must live
// on one shard until transactions across shards exist.
type Batch struct {
	Namespace Namespace
	Ops       []Op
	// Request protects retries; the SDK fills it in.
	Request RequestID
}

// Result is the outcome of a batch.
type Result struct {
	// Applied is false when a condition did not hold.
	Applied bool
	// FailedOp is the index of the first operation whose condition failed.
	FailedOp int
	// Version is the version of the write, 0 when nothing was applied.
	Version Version
	Ops     []OpResult
}

// Item is one key as a read found it.
type Item struct {
	Key     []byte
	Value   []byte
	Version Version
	// ExpiryMillis is 0 when the key does not expire.
	ExpiryMillis uint64
	// Found is false for a key that is absent or expired; then only Key is set.
	Found bool
}

// Range selects keys k with Start <= k < End in byte order; an empty End has no bound.
type Range struct {
	Namespace Namespace
	Start     []byte
	End       []byte
	Reverse   bool
	// Limit bounds the number of items; 0 means all.
	Limit    uint64
	KeysOnly bool
}

// PrefixRange selects the keys that begin with prefix.
func PrefixRange(prefix []byte) Range {
	return Range{Start: prefix, End: PrefixEnd(prefix)}
}

// PrefixEnd is the smallest key above every key that begins with prefix; empty when there is none.
func PrefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}
