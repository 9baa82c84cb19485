package history

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// listWorld makes histories of a store that does one transaction after the other.
type listWorld struct {
	rng   *rand.Rand
	lists map[string][]int64
	next  int64
}

const listRotation = 100 // appends to one list

func (w *listWorld) key() string { return fmt.Sprint("l", w.next/listRotation, ".", w.rng.IntN(5)) }

func (w *listWorld) transaction() []ListOp {
	ops := make([]ListOp, 1+w.rng.IntN(4))
	for i := range ops {
		ops[i].Key = w.key()
		if ops[i].Append = w.rng.IntN(2) == 0; ops[i].Append {
			w.next++
			ops[i].Value = w.next
		}
	}
	return ops
}

// do does a transaction and fills in what it saw.
func (w *listWorld) do(ops []ListOp) {
	for i := range ops {
		o := &ops[i]
		if o.Append {
			w.lists[o.Key] = append(w.lists[o.Key], o.Value)
		} else {
			o.Read = slices.Clone(w.lists[o.Key])
		}
	}
}

// generateLists makes a strictly serializable history of overlapping clients. One transaction in fifty ends
// unknown, with or without effect, and one in fifty is refused.
func generateLists(rng *rand.Rand, clients, count int) []Transaction {
	w := &listWorld{rng: rng, lists: map[string][]int64{}}
	free := make([]time.Duration, clients)
	transactions := make([]Transaction, 0, count)
	for i := range count {
		at := time.Duration(i+1) * 1000 // when it takes effect
		client := rng.IntN(clients)
		for free[client] >= at {
			client = (client + 1) % clients
		}
		t := Transaction{Client: client, Ops: w.transaction(), Outcome: OK,
			Call: max(free[client]+1, at-time.Duration(rng.IntN(3000))), Return: at + time.Duration(rng.IntN(900))}
		free[client] = t.Return
		switch fate := rng.IntN(100); {
		case fate < 2:
			t.Outcome, t.Return = Unknown, forever
			if fate == 0 {
				w.do(slices.Clone(t.Ops))
			}
		case fate < 4:
			t.Outcome = Failed
		default:
			w.do(t.Ops)
		}
		transactions = append(transactions, t)
	}
	return transactions
}

func TestStrictlySerializableListsAreAccepted(t *testing.T) {
	rng := newRand(t)
	for range 50 {
		if report, err := CheckLists(generateLists(rng, 8, 500)); err != nil {
			t.Fatalf("%v: %v", report, err)
		}
	}
}

func appends(key string, v int64) ListOp { return ListOp{Key: key, Append: true, Value: v} }
func reads(key string, seen ...int64) ListOp {
	return ListOp{Key: key, Read: seen}
}

// done is a transaction within [call, end]; end 0 means unknown.
func done(call, end int, ops ...ListOp) Transaction {
	t := Transaction{Ops: ops, Outcome: OK, Call: time.Duration(call), Return: time.Duration(end)}
	if end == 0 {
		t.Outcome, t.Return = Unknown, forever
	}
	return t
}

func refused(call, end int, ops ...ListOp) Transaction {
	t := done(call, end, ops...)
	t.Outcome = Failed
	return t
}

func TestEachAnomalyOfListsIsFoundByItsName(t *testing.T) {
	cases := []struct {
		anomaly string // empty: none
		name    string
		ts      []Transaction
	}{
		{"", "reads of one order", []Transaction{
			done(1, 9, appends("x", 1)), done(1, 9, appends("x", 2)), done(1, 9, reads("x", 2)), done(10, 11, reads("x", 2, 1))}},
		{"", "own appends are seen", []Transaction{
			done(1, 2, appends("x", 1)), done(3, 4, reads("x", 1), appends("x", 2), reads("x", 1, 2), appends("x", 3))}},
		{"", "an unknown append is seen, another is not", []Transaction{
			done(1, 0, appends("x", 1)), done(1, 0, appends("x", 2)), done(5, 6, reads("x")), done(8, 9, reads("x", 2))}},
		{"", "what overlaps may come in either order", []Transaction{
			done(1, 9, appends("x", 1)), done(2, 3, reads("x", 1)), done(2, 8, reads("x"))}},
		{"internal", "own append not seen", []Transaction{done(1, 2, appends("x", 1), reads("x"))}},
		{"internal", "two reads in one transaction differ", []Transaction{
			done(1, 2, appends("x", 1)), done(1, 9, reads("x"), reads("x", 1))}},
		{"G1a", "aborted read", []Transaction{refused(1, 2, appends("x", 1)), done(3, 4, reads("x", 1))}},
		{"G1b", "intermediate read", []Transaction{
			done(1, 2, appends("x", 1), appends("x", 2)), done(1, 9, reads("x", 1)), done(10, 12, reads("x", 1, 2))}},
		{"G1b", "another append between those of one transaction", []Transaction{
			done(1, 9, appends("x", 1), appends("x", 2)), done(1, 9, appends("x", 3)), done(10, 12, reads("x", 1, 3, 2))}},
		{"incompatible order", "two orders", []Transaction{
			done(1, 9, appends("x", 1)), done(1, 9, appends("x", 2)), done(10, 12, reads("x", 1, 2)), done(10, 12, reads("x", 2, 1))}},
		{"duplicate", "applied twice", []Transaction{done(1, 2, appends("x", 1)), done(3, 4, reads("x", 1, 1))}},
		{"garbage", "appended by nobody", []Transaction{done(3, 4, reads("x", 7))}},
		{"lost append", "nobody ever sees it", []Transaction{done(1, 2, appends("x", 1)), done(3, 4, reads("x"))}},
		{"lost append", "stale read", []Transaction{
			done(1, 2, appends("x", 1)), done(3, 4, reads("x")), done(5, 6, reads("x", 1))}},
		{"G0", "two lists in two orders", []Transaction{
			done(1, 9, appends("x", 1), appends("y", 1)), done(1, 9, appends("x", 2), appends("y", 2)),
			done(10, 11, reads("x", 1, 2)), done(10, 11, reads("y", 2, 1))}},
		{"G1c", "each reads the other", []Transaction{
			done(1, 9, appends("x", 1), reads("y", 1)), done(1, 9, appends("y", 1), reads("x", 1))}},
		{"G-single", "fractured read", []Transaction{
			done(1, 9, appends("x", 1), appends("y", 1)), done(1, 9, reads("x", 1), reads("y")), done(10, 11, reads("y", 1))}},
		{"G-single", "lost update", []Transaction{
			done(1, 9, reads("x"), appends("x", 1)), done(1, 9, reads("x"), appends("y", 3), appends("x", 2)), done(10, 11, reads("x", 1, 2))}},
		{"G2", "write skew", []Transaction{
			done(1, 9, reads("x"), appends("y", 1)), done(1, 9, reads("y"), appends("x", 1)), done(10, 11, reads("x", 1), reads("y", 1))}},
		{"realtime", "two reads that began later see the second of two writes in sequence and not the first", []Transaction{
			done(1, 2, appends("x", 1)), done(3, 0, appends("y", 1)), done(1, 9, reads("x"), reads("y", 1)), done(10, 11, reads("x", 1))}},
		{"realtime", "reads that go back in time", []Transaction{
			done(1, 20, appends("x", 1)), done(2, 3, reads("x", 1)), done(4, 5, reads("x")), done(21, 22, reads("x", 1))}},
	}
	for _, c := range cases {
		_, err := CheckLists(c.ts)
		var a *Anomaly
		switch {
		case c.anomaly == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.anomaly != "" && (!errors.As(err, &a) || a.Name != c.anomaly || !errors.Is(err, ErrNotSerializable)):
			t.Errorf("%s: want %s, got %v", c.name, c.anomaly, err)
		}
	}
}

// spoilers put one bug into a good history. Each says whether it found a place for it.
var spoilers = map[string]func(rng *rand.Rand, ts []Transaction) bool{
	"stale read": func(rng *rand.Rand, ts []Transaction) bool {
		return spoilRead(rng, ts, func(t Transaction, o *ListOp, acked func(int64) bool) bool {
			if n := len(o.Read); n > 0 && acked(o.Read[n-1]) {
				o.Read = o.Read[:n-1]
				return true
			}
			return false
		})
	},
	"lost append": func(rng *rand.Rand, ts []Transaction) bool {
		return spoilRead(rng, ts, func(_ Transaction, o *ListOp, acked func(int64) bool) bool {
			if len(o.Read) == 0 || !acked(o.Read[len(o.Read)-1]) {
				return false
			}
			lost, key := o.Read[len(o.Read)-1], o.Key
			for i := range ts {
				for j := range ts[i].Ops {
					if p := &ts[i].Ops[j]; p.Key == key {
						p.Read = slices.DeleteFunc(slices.Clone(p.Read), func(v int64) bool { return v == lost })
					}
				}
			}
			return true
		})
	},
	"append done twice": func(rng *rand.Rand, ts []Transaction) bool {
		return spoilRead(rng, ts, func(_ Transaction, o *ListOp, _ func(int64) bool) bool {
			if len(o.Read) > 0 {
				o.Read = append(slices.Clone(o.Read), o.Read[0])
			}
			return len(o.Read) > 0
		})
	},
	"acknowledged as refused": func(rng *rand.Rand, ts []Transaction) bool {
		return spoilRead(rng, ts, func(_ Transaction, o *ListOp, _ func(int64) bool) bool {
			for i := range ts {
				for _, p := range ts[i].Ops {
					if p.Append && p.Key == o.Key && len(o.Read) > 0 && p.Value == o.Read[0] {
						ts[i].Outcome = Failed
						return true
					}
				}
			}
			return false
		})
	},
}

// spoilRead gives read-only transactions to spoil, one after the other, until it has. Acked tells whether a value of the
// list had been acknowledged before the read began.
func spoilRead(rng *rand.Rand, ts []Transaction, spoil func(t Transaction, o *ListOp, acked func(int64) bool) bool) bool {
	for _, i := range rng.Perm(len(ts)) {
		t := ts[i]
		if t.Outcome != OK || len(t.Ops) != 1 || t.Ops[0].Append {
			continue
		}
		acked := func(v int64) bool {
			for _, w := range ts {
				for _, o := range w.Ops {
					if o.Append && o.Key == t.Ops[0].Key && o.Value == v {
						return w.Outcome == OK && w.Return < t.Call
					}
				}
			}
			return false
		}
		if spoil(t, &ts[i].Ops[0], acked) {
			return true
		}
	}
	return false
}

func TestSpoiledListsAreRejected(t *testing.T) {
	rng := newRand(t)
	for name, spoil := range spoilers {
		for range 25 {
			ts := generateLists(rng, 8, 300)
			if !spoil(rng, ts) {
				t.Fatalf("%s: no place for it", name)
			}
			if _, err := CheckLists(ts); !errors.Is(err, ErrNotSerializable) {
				t.Fatalf("%s was accepted: %v", name, err)
			}
		}
	}
}

// TestWriteSkewAmongGoodTransactionsIsFound inserts two transactions that each read what the other appends to.
func TestWriteSkewAmongGoodTransactionsIsFound(t *testing.T) {
	rng := newRand(t)
	for range 25 {
		ts := generateLists(rng, 8, 300)
		at := int(ts[rng.IntN(len(ts))].Call)
		skew := []Transaction{
			done(at, at+500, reads("skew x"), appends("skew y", 1)), done(at, at+500, reads("skew y"), appends("skew x", 2)),
			done(at+600, at+700, reads("skew x", 2), reads("skew y", 1)),
		}
		_, err := CheckLists(append(ts, skew...))
		var a *Anomaly
		if !errors.As(err, &a) || a.Name != "G2" || len(a.Transactions) != 2 || !strings.Contains(a.What, "rw") {
			t.Fatalf("write skew: %v", err)
		}
	}
}

func TestHundredThousandTransactionsAreCheckedInSeconds(t *testing.T) {
	ts := generateLists(newRand(t), 16, 100_000)
	report, err := CheckLists(ts)
	t.Log(report)
	if err != nil {
		t.Fatal(err)
	}
	const limit = 30 * time.Second // it takes about one
	if report.Took > limit {
		t.Errorf("checked in %v", report.Took)
	}
}

func TestTransactionsThatNeverEndAreUnknown(t *testing.T) {
	r := NewListRecorder()
	r.Begin(1, []ListOp{appends("x", 1)})
	r.Begin(2, []ListOp{reads("x")}).OK([]ListOp{reads("x", 1)})
	r.Begin(3, []ListOp{appends("x", 2)}).Failed()
	r.Begin(4, []ListOp{appends("x", 3)}).Unknown()
	ts := r.Transactions()
	if _, err := CheckLists(ts); err != nil || len(ts) != 4 {
		t.Fatal(ts, err)
	}
	if r.Count(OK) != 1 || r.Count(Failed) != 1 || r.Count(Unknown) != 1 || ts[0].Outcome != Unknown {
		t.Fatal(ts)
	}
}

func TestBankFindsMoneyMadeAndLost(t *testing.T) {
	accounts := map[string]int64{"a": 50, "b": 50, "c": 0}
	transfers := func() *Bank {
		b := NewBank(accounts)
		b.Transferred("a", "b", 10, OK)
		b.Transferred("a", "c", 5, Unknown)
		b.Transferred("b", "c", 40, Failed)
		return b
	}
	cases := []struct {
		name    string
		good    bool
		a, b, c int64
	}{
		{"the unknown transfer was not done", true, 40, 60, 0},
		{"the unknown transfer was done", true, 35, 60, 5},
		{"half of a transfer", false, 35, 60, 0},
		{"the acknowledged transfer was lost", false, 50, 50, 0},
		{"the acknowledged transfer was done twice", false, 30, 70, 0},
		{"the unknown transfer was done twice", false, 30, 60, 10},
		{"the refused transfer was done", false, 40, 20, 40},
		{"overdrawn", false, -5, 60, 45},
	}
	for _, c := range cases {
		bank := transfers()
		err := bank.CheckFinal(map[string]int64{"a": c.a, "b": c.b, "c": c.c})
		if good := err == nil; good != c.good || err != nil && !errors.Is(err, ErrBank) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := transfers().CheckRead(map[string]int64{"a": 50, "b": 50}); err == nil {
		t.Error("an account that is missing was not missed")
	}
}

// TestBankAcceptsAnOrdinaryDay runs many transfers with the three outcomes and reads between them.
func TestBankAcceptsAnOrdinaryDay(t *testing.T) {
	rng := newRand(t)
	balances := map[string]int64{}
	for i := range 10 {
		balances[fmt.Sprint("account ", i)] = 100
	}
	initial := map[string]int64{}
	for k, v := range balances {
		initial[k] = v
	}
	bank := NewBank(initial)
	for range 100_000 {
		from, to, amount := fmt.Sprint("account ", rng.IntN(10)), fmt.Sprint("account ", rng.IntN(10)), rng.Int64N(20)
		outcome := []Outcome{OK, OK, OK, Unknown, Failed}[rng.IntN(5)]
		if balances[from] < amount {
			outcome = Failed
		}
		if outcome == OK || outcome == Unknown && rng.IntN(2) == 0 {
			balances[from] -= amount
			balances[to] += amount
		}
		bank.Transferred(from, to, amount, outcome)
		if rng.IntN(10) == 0 {
			if err := bank.CheckRead(balances); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := bank.CheckFinal(balances); err != nil {
		t.Fatal(err)
	}
	t.Log(bank)
}
