package api

import "time"

// OpKind says what an operation does.
type OpKind uint8

// The operations. Their numbers are part of the entry format.
const (
	OpPut       OpKind = 1
	OpDelete    OpKind = 2
	OpIncrement OpKind = 3
	// OpExpire changes the expiry of a key that exists and leaves its value.
	OpExpire OpKind = 4
	// OpGet reads the key as the operations before it left it. With ReturnPrevious the result
	// has the value.
	OpGet OpKind = 5
	// OpCheck only checks its condition. If that fails nothing of the batch is applied, not even
	// of an independent one.
	OpCheck OpKind = 6
	// OpAppend puts Value behind what the key holds; an absent key counts as empty.
	OpAppend OpKind = 7
	// OpSetRange writes Value over the bytes from Offset on, after zero bytes if the value ends
	// before it. With an empty Value it changes nothing.
	OpSetRange OpKind = 8
	// OpSetBit sets the bit at Offset to Delta, which is 0 or 1. Bit 0 is the highest of byte 0.
	OpSetBit OpKind = 9
	// OpIncrementFloat adds the decimal number in Value to the decimal number that the key holds.
	OpIncrementFloat OpKind = 10
	// OpCopy makes Key equal to Source, value and expiry; an absent Source is CodeNotFound.
	OpCopy OpKind = 11
	// OpRename is OpCopy followed by the deletion of Source.
	OpRename OpKind = 12
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
	// The conditions about the expiry hold only for a key that is present.

	// ConditionPersistent: the key does not expire.
	ConditionPersistent ConditionKind = 4
	// ConditionExpiring: the key expires.
	ConditionExpiring ConditionKind = 5
	// ConditionExpiresLater: the operation makes the key expire later than it does. A key that
	// does not expire never gets later.
	ConditionExpiresLater ConditionKind = 6
	// ConditionExpiresSooner: the operation makes the key expire sooner than it does.
	ConditionExpiresSooner ConditionKind = 7
	// ConditionExpiringSooner is ConditionExpiring and ConditionExpiresSooner.
	ConditionExpiringSooner ConditionKind = 8
)

// Condition guards one operation. If any guard of a batch fails, nothing of it is applied,
// unless the batch is independent.
type Condition struct {
	Kind    ConditionKind
	Version Version
}

// Op is one operation on one key. The caller owns its bytes; callees copy what they keep.
type Op struct {
	Kind   OpKind
	Key    []byte
	Source []byte // OpCopy, OpRename
	Value  []byte // OpPut, OpAppend, OpSetRange, OpIncrementFloat
	// Parts stands for the Value of an OpPut whose parts were staged under the request id of the
	// batch. Servers set it for shards; a batch of a client that has it is refused.
	Parts          *Parts
	Delta          int64  // OpIncrement, OpSetBit
	Offset         uint64 // OpSetRange: bytes; OpSetBit: bits
	Expiry         Expiry
	Condition      Condition
	ReturnPrevious bool
	// Joined makes one step of this operation and the one before it: the operations of a step
	// are applied together or not at all. It matters only in an independent batch.
	Joined bool
	// Blind says that nobody asks what was there before: Existed and the Previous fields of the
	// result are zero. It spares reading the key where nothing else needs that; see IsBlind.
	Blind bool
}

// IsBlind reports whether the operation is done without reading its key: an OpPut that says so, has
// no condition, keeps no expiry and returns nothing.
func (o *Op) IsBlind() bool {
	return o.Blind && o.Kind == OpPut && o.Condition.Kind == ConditionNone && o.Expiry.Mode != ExpiryKeep && !o.ReturnPrevious
}

// MayBeStaged reports whether the value can go through the log in parts before the batch.
func (o *Op) MayBeStaged() bool { return o.Kind == OpPut && len(o.Value) >= MinStagedBytes }

// HasSource reports whether the operation reads a second key, Source.
func (o *Op) HasSource() bool { return o.Kind == OpCopy || o.Kind == OpRename }

// OpResult is what one operation found and did.
type OpResult struct {
	// Applied is false when the operation's step was not applied: a condition of it did not
	// hold, or Code says why it failed.
	Applied bool
	// Code is why the step failed, empty when it did not. Only independent batches have it: in
	// others the error is the batch's. It stands at the operation that failed.
	Code            Code
	Existed         bool    // before the operation
	Previous        []byte  // before the operation; only with ReturnPrevious
	PreviousVersion Version // 0 when absent
	PreviousExpiry  uint64  // milliseconds since the Unix epoch, 0 when there was none
	// Number is the sum after OpIncrement, the length in bytes after OpAppend and OpSetRange and
	// before OpGet, the bit before OpSetBit.
	Number int64
	// Text is the decimal number after OpIncrementFloat.
	Text []byte
}

// Batch is a list of operations that are applied together or not at all. All keys must live
// on one shard until transactions across shards exist.
type Batch struct {
	Namespace Namespace
	Ops       []Op
	// Independent makes each operation succeed or fail for itself, as in a MULTI block of Redis.
	// They still are one write: nobody sees a state between them.
	Independent bool
	// Request protects retries; the SDK fills it in.
	Request RequestID
}

// Result is the outcome of a batch.
type Result struct {
	// Applied is false when a condition did not hold; in an independent batch, when one of an
	// OpCheck did not.
	Applied bool
	// FailedOp is the index of the operation whose condition failed, if Applied is false.
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
	// Stored stands for Value when that is in parts and has not been brought. Only servers and shards
	// have it.
	Stored *Stored
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
	// MaxStaleness allows an answer that was true at some time within the last so long, which
	// any replica may give; 0 asks for a linearizable one.
	MaxStaleness time.Duration
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
