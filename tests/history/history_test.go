package history

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var seed = flag.Uint64("history.seed", 0, "seed of the generated histories; 0 chooses one")

// generate makes a linearizable history: each operation takes effect at one instant between its call
// and its return. Clients overlap; some writes end unknown, with or without effect.
func generate(rng *rand.Rand, clients, operations int) []Operation {
	var state Seen
	var version uint64
	free := make([]time.Duration, clients)
	ops := make([]Operation, 0, operations)
	for i := range operations {
		at := time.Duration(i+1) * 1000
		client := rng.IntN(clients)
		for free[client] >= at {
			client = (client + 1) % clients
		}
		op := Operation{Client: client, Outcome: OK,
			Call: max(free[client]+1, at-time.Duration(rng.IntN(3000))), Return: at + time.Duration(rng.IntN(900))}
		free[client] = op.Return
		op.Input = randomInput(rng, i, state)
		lost := op.Input.Kind != Read && rng.IntN(100) == 0
		if !lost || rng.IntN(2) == 0 {
			version++
			state, op.Output = perform(state, op.Input, version)
		}
		if lost {
			op.Outcome, op.Return, op.Output = Unknown, forever, Output{Unknown: true}
		}
		ops = append(ops, op)
	}
	return ops
}

func randomInput(rng *rand.Rand, i int, state Seen) Input {
	in := Input{Kind: Kind(1 + rng.IntN(4)), Key: "k", Value: fmt.Sprint("v", i)}
	switch in.Kind {
	case Read, Delete:
		in.Value = ""
	case CompareAndSet:
		in.Expected = state
		if rng.IntN(3) == 0 {
			in.Expected = Seen{Found: true, Value: "never written", Version: 1}
		}
	}
	return in
}

func perform(state Seen, in Input, version uint64) (Seen, Output) {
	switch in.Kind {
	case Read:
		return state, Output{Seen: state}
	case Delete:
		existed := state.Found
		return Seen{}, Output{Seen: Seen{Version: version}, Existed: &existed}
	case CompareAndSet:
		if in.Expected.Found != state.Found || in.Expected.Value != state.Value {
			return state, Output{}
		}
		return Seen{true, in.Value, version}, Output{Seen: Seen{Version: version}, Applied: true}
	default:
		return Seen{true, in.Value, version}, Output{Seen: Seen{Version: version}}
	}
}

func newRand(t *testing.T) *rand.Rand {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-history.seed=%d", s)
	return rand.New(rand.NewPCG(s, 0))
}

func TestGeneratedLinearizableHistoriesAreAccepted(t *testing.T) {
	rng := newRand(t)
	for range 50 {
		ops := generate(rng, 4, 400)
		if report, err := Check(Register, ops, 10*time.Second); err != nil {
			t.Fatalf("%v: %v", report, err)
		}
	}
}

func TestHistoryOfTheLargestKeyIsCheckedWithinASecond(t *testing.T) {
	ops := generate(newRand(t), 4, MaxOpsPerKey)
	report, err := Check(Register, ops, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(report)
	if report.Took > time.Second {
		t.Errorf("checked in %v", report.Took)
	}
}

// TestSpoiledHistoriesAreRejected takes a good history and makes one read return what an earlier,
// overwritten write had written. No versions are told, so that only the order can give it away.
func TestSpoiledHistoriesAreRejected(t *testing.T) {
	rng := newRand(t)
	for range 50 {
		ops := generate(rng, 4, 400)
		if !spoil(rng, ops) {
			continue
		}
		for i := range ops {
			ops[i].Output.Version = 0
		}
		if _, err := Check(Register, ops, 10*time.Second); !errors.Is(err, ErrNotLinearizable) {
			t.Fatalf("a stale read was accepted: %v", err)
		}
	}
}

func spoil(rng *rand.Rand, ops []Operation) bool {
	for _, i := range rng.Perm(len(ops)) {
		if ops[i].Input.Kind != Read {
			continue
		}
		var before []Operation // completed writes, in order, before the read began
		for _, op := range ops {
			if op.Outcome == OK && op.Input.Kind == Write && op.Return < ops[i].Call {
				before = append(before, op)
			}
		}
		slices.SortFunc(before, func(a, b Operation) int { return int(a.Output.Version - b.Output.Version) })
		for j := 0; j+1 < len(before); j++ {
			if before[j].Return < before[j+1].Call {
				ops[i].Output = Output{Seen: Seen{true, before[j].Input.Value, before[j].Output.Version}}
				return true
			}
		}
	}
	return false
}

// at builds one operation with the times [call, end]; end 0 means unknown.
func at(client int, call, end int, in Input, out Output) Operation {
	in.Key = "k"
	op := Operation{Client: client, Input: in, Output: out, Outcome: OK, Call: time.Duration(call), Return: time.Duration(end)}
	if end == 0 {
		op.Return, op.Outcome, op.Output = forever, Unknown, Output{Unknown: true}
	}
	return op
}

func write(v string) Input { return Input{Kind: Write, Value: v} }
func saw(v string) Output  { return Output{Seen: Seen{Found: v != "", Value: v}} }
func told(version uint64) Output {
	return Output{Seen: Seen{Version: version}}
}

var read = Input{Kind: Read}

func TestRegisterModelTellsGoodFromBad(t *testing.T) {
	yes, no := true, false
	cas := func(old, new string) Input {
		return Input{Kind: CompareAndSet, Value: new, Expected: Seen{Found: old != "", Value: old}}
	}
	cases := []struct {
		name string
		good bool
		ops  []Operation
	}{
		{"read of a write that overlaps, either way", true, []Operation{
			at(1, 1, 9, write("a"), Output{}), at(2, 2, 3, read, saw("")), at(3, 4, 5, read, saw("a"))}},
		{"stale read after an acknowledged write", false, []Operation{
			at(1, 1, 2, write("a"), Output{}), at(1, 3, 4, write("b"), Output{}), at(2, 5, 6, read, saw("a"))}},
		{"reads that go back in time", false, []Operation{
			at(1, 1, 9, write("a"), Output{}), at(2, 2, 3, read, saw("a")), at(3, 4, 5, read, saw(""))}},
		{"acknowledged write lost", false, []Operation{
			at(1, 1, 2, write("a"), Output{}), at(2, 3, 4, read, saw(""))}},
		{"unknown write seen much later", true, []Operation{
			at(1, 1, 0, write("a"), Output{}), at(2, 3, 4, read, saw("")), at(2, 5, 6, read, saw("a"))}},
		{"unknown write never seen", true, []Operation{
			at(1, 1, 0, write("a"), Output{}), at(2, 3, 4, read, saw(""))}},
		{"unknown write applied twice", false, []Operation{
			at(1, 1, 0, write("a"), Output{}), at(2, 3, 4, read, saw("a")),
			at(2, 5, 6, write("b"), Output{}), at(2, 7, 8, read, saw("a"))}},
		{"read of what nobody wrote", false, []Operation{
			at(1, 1, 2, write("a"), Output{}), at(2, 3, 4, read, saw("z"))}},
		{"two conditional writes on the same value both applied", false, []Operation{
			at(1, 1, 2, write("a"), Output{}),
			at(1, 3, 4, cas("a", "b"), Output{Applied: true}), at(2, 3, 4, cas("a", "c"), Output{Applied: true})}},
		{"conditional write refused although it matched", false, []Operation{
			at(1, 1, 2, write("a"), Output{}), at(1, 3, 4, cas("a", "b"), Output{})}},
		{"conditional write on absent", true, []Operation{
			at(1, 1, 2, cas("", "b"), Output{Applied: true}), at(1, 3, 4, read, saw("b"))}},
		{"deleted key read", false, []Operation{
			at(1, 1, 2, write("a"), Output{}), at(1, 3, 4, Input{Kind: Delete}, Output{Existed: &yes}), at(1, 5, 6, read, saw("a"))}},
		{"delete that says the key was absent although it was there", false, []Operation{
			at(1, 1, 2, write("a"), Output{}), at(1, 3, 4, Input{Kind: Delete}, Output{Existed: &no})}},
		{"versions go back", false, []Operation{
			at(1, 1, 2, write("a"), told(9)), at(1, 3, 4, write("b"), told(8))}},
		{"a value changes its version", false, []Operation{
			at(1, 1, 2, write("a"), told(9)), at(1, 3, 4, read, Output{Seen: Seen{true, "a", 10}})}},
		{"version learned from a read after an untold write", true, []Operation{
			at(1, 1, 0, write("a"), Output{}), at(1, 3, 4, read, Output{Seen: Seen{true, "a", 10}}), at(1, 5, 6, write("b"), told(11))}},
	}
	for _, c := range cases {
		_, err := Check(Register, c.ops, time.Second)
		if good := err == nil; good != c.good {
			t.Errorf("%s: good=%t: %v", c.name, good, err)
		}
	}
}

func TestCounterModelTellsGoodFromBad(t *testing.T) {
	add := Input{Kind: Increment, Delta: 1}
	number := func(n int64) Output { return Output{Number: n} }
	cases := []struct {
		name string
		good bool
		ops  []Operation
	}{
		{"two increments at once", true, []Operation{at(1, 1, 5, add, number(2)), at(2, 1, 5, add, number(1)), at(1, 6, 7, read, number(2))}},
		{"two increments told the same number", false, []Operation{at(1, 1, 5, add, number(1)), at(2, 1, 5, add, number(1))}},
		{"unknown increment counted", true, []Operation{at(1, 1, 0, add, Output{}), at(2, 3, 4, read, number(1))}},
		{"unknown increment not counted", true, []Operation{at(1, 1, 0, add, Output{}), at(2, 3, 4, read, number(0))}},
		{"increment applied twice", false, []Operation{at(1, 1, 2, add, number(1)), at(2, 3, 4, read, number(2))}},
		{"unknown increment applied twice", false, []Operation{at(1, 1, 0, add, Output{}), at(2, 3, 4, read, number(2))}},
		{"acknowledged increment lost", false, []Operation{at(1, 1, 2, add, number(1)), at(2, 3, 4, read, number(0))}},
	}
	for _, c := range cases {
		_, err := Check(Counter, c.ops, time.Second)
		if good := err == nil; good != c.good {
			t.Errorf("%s: good=%t: %v", c.name, good, err)
		}
	}
}

func TestUnknownWritesStayOpenAndFailedOnesLeave(t *testing.T) {
	r := NewRecorder()
	r.Begin(1, Input{Kind: Write, Key: "k", Value: "ok"}).OK(Output{})
	r.Begin(1, Input{Kind: Write, Key: "k", Value: "lost"}).Unknown("connection reset")
	r.Begin(1, Input{Kind: Write, Key: "k", Value: "refused"}).Failed()
	r.Begin(1, Input{Kind: Read, Key: "k"}).Unknown("connection reset")
	r.Begin(1, Input{Kind: Write, Key: "k", Value: "hanging"})
	ops := r.Operations()
	var values []string
	for _, op := range ops {
		values = append(values, op.Input.Value)
		if (op.Return == forever) != (op.Outcome == Unknown) || (op.Outcome == Unknown) != op.Output.Unknown {
			t.Errorf("%v: outcome %v", op, op.Outcome)
		}
	}
	if want := []string{"ok", "lost", "hanging"}; !slices.Equal(values, want) {
		t.Errorf("history has %v, want %v", values, want)
	}
	if r.Count(OK) != 1 || r.Count(Unknown) != 2 || r.Count(Failed) != 1 {
		t.Errorf("counts: %d ok, %d unknown, %d failed", r.Count(OK), r.Count(Unknown), r.Count(Failed))
	}
}

func TestFullKeysAreReplaced(t *testing.T) {
	k := NewKeys("p")
	first := k.Next(1)
	for range MaxOpsPerKey - 1 {
		if key := k.Next(1); key != first {
			t.Fatalf("key replaced early by %s", key)
		}
	}
	second := k.Next(1)
	if second == first {
		t.Fatal("a full key was not replaced")
	}
	for range MaxUnknownPerKey {
		k.Unknown(1, first) // late news of the old key
	}
	if key := k.Next(1); key != second {
		t.Fatalf("unknown outcomes of %s replaced %s by %s", first, second, key)
	}
	for range MaxUnknownPerKey {
		k.Unknown(1, second)
	}
	if k.Next(1) == second {
		t.Fatal("a key with many unknown outcomes was not replaced")
	}
	if k.Next(2) == k.Next(1) {
		t.Fatal("two groups share a key")
	}
}

// TestCounterWithManyUnknownIncrementsIsCheckedInSeconds: unknown increments are alike, which is the hardest case.
func TestCounterWithManyUnknownIncrementsIsCheckedInSeconds(t *testing.T) {
	rng := newRand(t)
	var ops []Operation
	number := int64(0)
	for i := range MaxOpsPerKey {
		in := Input{Kind: Increment, Delta: 1}
		if i%100 == 50 && i < 1100 { // eleven, every second with effect
			number += int64(i / 100 % 2)
			ops = append(ops, at(i, i*10, 0, in, Output{}))
			continue
		}
		number++
		ops = append(ops, at(i, i*10-rng.IntN(40), i*10+9, in, Output{Number: number}))
	}
	report, err := Check(Counter, ops, 10*time.Second)
	t.Log(report)
	if err != nil || report.Took > 5*time.Second {
		t.Errorf("%v: %v", report, err)
	}
}
