package shard

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
)

// modelKey is a key in the model: what a reader of the documentation would expect.
type modelKey struct {
	value   string
	version api.Version
	expiry  uint64 // never when the key does not expire
}

const never = uint64(math.MaxUint64)

// model is the state as plain maps.
type model map[string]modelKey

func (m model) live(key []byte, now uint64) (modelKey, bool) {
	k, ok := m[string(key)]
	if !ok || k.expiry <= now {
		return modelKey{expiry: never}, false
	}
	return k, true
}

// apply is a naive evaluation: copy everything, run a step, keep or drop the copy.
func (m model) apply(b api.Batch, v api.Version) (model, api.Result, api.Code) {
	res := api.Result{Applied: true, Version: v, Ops: make([]api.OpResult, len(b.Ops))}
	state := m
	for start := 0; start < len(b.Ops); {
		end := start + 1
		for end < len(b.Ops) && (!b.Independent || b.Ops[end].Joined) {
			end++
		}
		next := maps.Clone(state)
		failed := -1
		for i := start; i < end && failed < 0; i++ {
			if ok := next.operation(&b.Ops[i], v, &res.Ops[i]); !ok {
				failed = i
			}
		}
		if failed < 0 {
			state = next
			for i := start; i < end; i++ {
				res.Ops[i].Applied = true
			}
		} else if code := res.Ops[failed].Code; !b.Independent && code != "" {
			return m, api.Result{}, code
		} else if !b.Independent || b.Ops[failed].Kind == api.OpCheck {
			res = api.Result{FailedOp: failed, Ops: res.Ops[:failed+1]}
			for i := range res.Ops {
				res.Ops[i].Applied = false
			}
			return m, res, ""
		}
		start = end
	}
	return state, res, ""
}

// operation changes the model and fills in the result; false when the step fails.
func (m model) operation(op *api.Op, v api.Version, o *api.OpResult) bool {
	k, existed := m.live(op.Key, v.Millis())
	if !op.IsBlind() {
		o.Existed, o.PreviousVersion = existed, k.version
	}
	if existed && k.expiry != never && !op.IsBlind() {
		o.PreviousExpiry = k.expiry
	}
	if existed && op.ReturnPrevious {
		o.Previous = []byte(k.value)
	}
	var source modelKey
	if op.Kind == api.OpCopy || op.Kind == api.OpRename {
		var ok bool
		if source, ok = m.live(op.Source, v.Millis()); !ok {
			o.Code = api.CodeNotFound
			return false
		}
	}
	wish := map[api.ExpiryMode]uint64{
		api.ExpiryNone: never, api.ExpiryKeep: k.expiry, api.ExpiryAt: op.Expiry.Millis, api.ExpiryAfter: v.Millis() + op.Expiry.Millis,
	}[op.Expiry.Mode]
	return k.holds(op.Condition, existed, wish) && m.execute(op, v, k, existed, source, wish, o)
}

func (m model) execute(op *api.Op, v api.Version, k modelKey, existed bool, source modelKey, wish uint64, o *api.OpResult) bool {
	set := func(value string, expiry uint64) { m[string(op.Key)] = modelKey{value, v, expiry} }
	switch op.Kind {
	case api.OpPut:
		set(string(op.Value), wish)
	case api.OpDelete:
		delete(m, string(op.Key))
	case api.OpGet:
		o.Number = int64(len(k.value))
	case api.OpExpire:
		sets := op.Expiry.Mode == api.ExpiryAt || op.Expiry.Mode == api.ExpiryAfter
		if existed && (sets || wish != k.expiry) {
			set(k.value, wish)
		}
	case api.OpIncrement, api.OpIncrementFloat:
		if op.Kind == api.OpIncrement {
			o.Number, o.Code = modelIncrement(k.value, existed, op.Delta)
		} else {
			o.Text, o.Code = modelSum(k.value, existed, string(op.Value))
		}
		if o.Code != "" {
			return false
		}
		if op.Kind == api.OpIncrement {
			set(fmt.Sprint(o.Number), k.expiry)
		} else {
			set(string(o.Text), k.expiry)
		}
	case api.OpAppend:
		o.Number = int64(len(k.value) + len(op.Value))
		set(k.value+string(op.Value), k.expiry)
	case api.OpSetRange:
		if len(op.Value) == 0 {
			o.Number = int64(len(k.value))
			break
		}
		if op.Offset > api.MaxWholeBytes {
			o.Code = api.CodeTooLarge
			return false
		}
		end := int(op.Offset) + len(op.Value)
		value := modelPad(k.value, end)
		o.Number = int64(len(value))
		set(value[:op.Offset]+string(op.Value)+value[end:], k.expiry)
	case api.OpSetBit:
		value := []byte(modelPad(k.value, int(op.Offset/8)+1))
		shift := 7 - op.Offset%8
		o.Number = int64(value[op.Offset/8] >> shift & 1)
		value[op.Offset/8] ^= byte(o.Number^op.Delta) << shift
		if !existed || string(value) != k.value {
			set(string(value), k.expiry)
		}
	case api.OpCopy, api.OpRename:
		if bytes.Equal(op.Key, op.Source) {
			break
		}
		set(source.value, source.expiry)
		if op.Kind == api.OpRename {
			delete(m, string(op.Source))
		}
	}
	return true
}

func modelPad(value string, size int) string {
	return value + strings.Repeat("\x00", max(size-len(value), 0))
}

func (k modelKey) holds(c api.Condition, existed bool, wish uint64) bool {
	expires := existed && k.expiry != never
	return map[api.ConditionKind]bool{
		api.ConditionNone: true, api.ConditionAbsent: !existed, api.ConditionPresent: existed,
		api.ConditionVersion: c.Version == k.version, api.ConditionPersistent: existed && !expires,
		api.ConditionExpiring: expires, api.ConditionExpiresLater: expires && wish > k.expiry,
		api.ConditionExpiresSooner: existed && wish < k.expiry, api.ConditionExpiringSooner: expires && wish < k.expiry,
	}[c.Kind]
}

func modelIncrement(value string, existed bool, delta int64) (int64, api.Code) {
	sum := new(big.Int)
	if existed {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || fmt.Sprint(n) != value {
			return 0, api.CodeNotInteger
		}
		sum.SetInt64(n)
	}
	if sum.Add(sum, big.NewInt(delta)); !sum.IsInt64() {
		return 0, api.CodeOverflow
	}
	return sum.Int64(), ""
}

// modelSum knows only the numbers that these tests use: whole ones and quarters.
func modelSum(value string, existed bool, increment string) ([]byte, api.Code) {
	if !existed {
		value = "0"
	}
	if strings.Trim(value+increment, "0123456789.eE+-") != "" {
		return nil, api.CodeNotFloat // package big reads more than C
	}
	a, _, err := big.ParseFloat(value, 10, 64, big.ToNearestEven)
	b, _, berr := big.ParseFloat(increment, 10, 64, big.ToNearestEven)
	if err != nil || berr != nil {
		return nil, api.CodeNotFloat
	}
	text := new(big.Float).SetPrec(64).Add(a, b).Text('f', 17)
	text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	if text == "-0" {
		text = "0"
	}
	return []byte(text), ""
}

func TestTheMachineAgreesWithAModel(t *testing.T) {
	rng := testkit.Rand(t)
	b := configuredBench(t)
	m := model{}
	outcomes := map[api.Code]int{}
	for i := range 5000 {
		b.now += []uint64{0, 0, 1, 200}[rng.IntN(4)]
		todo := smallBatch(rng, b.now)
		for n := range todo.Ops {
			if op := &todo.Ops[n]; op.Condition.Kind == api.ConditionVersion && rng.IntN(2) == 0 {
				op.Condition.Version = m[string(op.Key)].version
			}
		}
		a := b.do(Command{Epoch: 1, Batch: todo})
		v := b.m.state().last
		next, want, code := m.apply(todo, v)
		if (a.Err == nil) != (code == "") || a.Err != nil && a.Err.Code != code || !reflect.DeepEqual(a.Result, want) {
			t.Fatalf("step %d: %+v\n got %+v\nwant %+v, %s", i, todo, a, want, code)
		}
		outcomes[code]++
		for _, o := range want.Ops {
			outcomes[o.Code]++
		}
		m = next
		switch rng.IntN(200) {
		case 0:
			b.compact()
		case 1:
			b.close()
			b.open()
		}
	}
	for _, code := range []api.Code{api.CodeNotInteger, api.CodeOverflow, api.CodeNotFloat, api.CodeNotFound, api.CodeTooLarge} {
		if outcomes[code] == 0 {
			t.Errorf("nothing ended in %s: %v", code, outcomes)
		}
	}
	now := b.m.state().last.Millis()
	for i := range 12 {
		key := fmt.Sprint("key-", i)
		want, live := m.live([]byte(key), now)
		got, ok := b.get(key)
		if want.expiry == never {
			want.expiry = 0
		}
		if ok != live || ok && (string(got.Value) != want.value || got.Version != want.version || got.ExpiryMillis != want.expiry) {
			t.Errorf("%s: %+v, %t, want %+v, %t", key, got, ok, want, live)
		}
	}
}
