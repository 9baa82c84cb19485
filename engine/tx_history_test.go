package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// listTx is a transaction of a list-append history that has committed: what it read, what it appended, and when it was.
type listTx struct {
	reads      map[int][]uint32 // by key
	appends    map[int][]uint32
	began, end int64
}

// listStore runs transactions on a few keys, each a list of numbers that are appended only once: so a read tells
// which appends there were before, and in which order.
type listStore struct {
	db      *DB
	keys    int
	o       TxOptions
	clock   atomic.Int64
	numbers atomic.Uint32

	mu   sync.Mutex
	done []*listTx
}

// client is one that runs transactions, step by step.
type client struct {
	store  *listStore
	random *rand.Rand
	tx     *Tx
	left   int
	did    *listTx
}

func listKey(i int) []byte { return fmt.Appendf(nil, "list/%02d", i) }

func decodeList(value []byte) (list []uint32) {
	for ; len(value) > 0; value = value[4:] {
		list = append(list, binary.BigEndian.Uint32(value))
	}
	return list
}

// step does one operation of the client's transaction.
func (c *client) step() error {
	if c.tx == nil {
		c.did = &listTx{reads: map[int][]uint32{}, appends: map[int][]uint32{}, began: c.store.clock.Add(1)}
		tx, err := c.store.db.Begin(c.store.o)
		c.tx, c.left = tx, 1+c.random.IntN(4)
		return err
	}
	if c.left == 0 {
		return c.commit()
	}
	c.left--
	key := c.random.IntN(c.store.keys)
	switch c.random.IntN(4) {
	case 0, 1:
		return c.append(key)
	case 2:
		_, err := c.read(key)
		return err
	}
	return c.walk()
}

func (c *client) commit() error {
	err := c.tx.Commit()
	c.tx = nil
	if errors.Is(err, ErrConflict) {
		return nil
	}
	c.did.end = c.store.clock.Add(1)
	c.store.mu.Lock()
	c.store.done = append(c.store.done, c.did)
	c.store.mu.Unlock()
	return err
}

func (c *client) read(key int) ([]byte, error) {
	row, _, err := c.tx.Get(listKey(key))
	c.note(key, row.Value)
	return row.Value, err
}

// note remembers a read of what others have written.
func (c *client) note(key int, value []byte) {
	if len(c.did.appends[key]) == 0 {
		c.did.reads[key] = decodeList(value)
	}
}

func (c *client) append(key int) error {
	value, err := c.read(key)
	if err != nil {
		return err
	}
	number := c.store.numbers.Add(1)
	c.did.appends[key] = append(c.did.appends[key], number)
	return c.tx.Put(listKey(key), binary.BigEndian.AppendUint32(slices.Clone(value), number), 0)
}

// walk reads several keys, there or not, in one walk.
func (c *client) walk() error {
	from := c.random.IntN(c.store.keys)
	to := from + 1 + c.random.IntN(c.store.keys-from)
	it := c.tx.NewIterator(IteratorOptions{Start: listKey(from), End: listKey(to)})
	found := map[string][]byte{}
	move, on := it.First, it.Next
	if c.random.IntN(2) == 0 {
		move, on = it.Last, it.Prev
	}
	for ok := move(); ok; ok = on() {
		found[string(it.Row().Key)] = slices.Clone(it.Row().Value)
	}
	for key := from; key < to; key++ {
		c.note(key, found[string(listKey(key))])
	}
	return it.Close()
}

// TestSerializableTransactionsHaveNoCycle and the next one run random transactions, interleaved step by step by one goroutine, so
// that each seed is one history, and by several at once. The graph of who depends on whom must have no cycle.
func TestSerializableTransactionsHaveNoCycle(t *testing.T) {
	runHistories(t, Serializable)
}

// TestSnapshotIsolationHasOnlyCyclesOfWriteSkew also needs to find some: a checker that finds nothing proves nothing.
func TestSnapshotIsolationHasOnlyCyclesOfWriteSkew(t *testing.T) {
	if skews := runHistories(t, SnapshotIsolation); skews == 0 {
		t.Fatal("no history has a write skew, which snapshot isolation allows")
	}
}

func runHistories(t *testing.T, isolation Isolation) (skews int) {
	const histories, atOnce = 150, 12
	seed := testkit.Seed(t)
	transactions := 0
	for sub := range int64(histories + atOnce) {
		random := testkit.NewRand(seed + sub)
		o := small(vfs.NewMem())
		o.Log = LogMode(random.IntN(4))
		o.RetainVersions = random.IntN(3) == 0
		s := &listStore{db: mustOpen(t, "db", o), keys: 2 + random.IntN(5), o: TxOptions{Isolation: isolation}}
		run := s.interleave
		if sub >= histories {
			run = s.atOnce
		}
		if err := run(random); err != nil {
			t.Fatalf("seed %d: %v", seed+sub, err)
		}
		mustClose(t, s.db)
		g, err := graphOf(s.done)
		if err != nil {
			t.Fatalf("seed %d: %v", seed+sub, err)
		}
		if cycle := g.cycleWithoutSkew(); cycle != nil {
			t.Fatalf("seed %d: %d transactions, a cycle without two anti-dependencies in a row: %v", seed+sub, len(s.done), cycle)
		}
		if cycle := g.cycle(); cycle != nil {
			if isolation == Serializable {
				t.Fatalf("seed %d: %d transactions, a cycle: %v", seed+sub, len(s.done), cycle)
			}
			skews++
		}
		transactions += len(s.done)
	}
	t.Logf("engine: %d histories of %d transactions at isolation %d, %d with write skew, seed %d",
		histories+atOnce, transactions, isolation, skews, seed)
	return skews
}

// interleave runs the transactions of some clients in a random order of their steps, with flushes and compactions between them.
func (s *listStore) interleave(random *rand.Rand) error {
	clients := make([]*client, 2+random.IntN(5))
	for i := range clients {
		clients[i] = &client{store: s, random: random}
	}
	for range 250 {
		if err := clients[random.IntN(len(clients))].step(); err != nil {
			return err
		}
		if random.IntN(40) == 0 {
			if err := s.db.Flush(); err != nil {
				return err
			}
		}
	}
	for _, c := range clients {
		if c.tx != nil {
			c.tx.Rollback()
		}
	}
	return nil
}

func (s *listStore) atOnce(random *rand.Rand) error {
	const clients = 6
	failed := make(chan error, clients)
	for i := range clients {
		c := &client{store: s, random: rand.New(rand.NewPCG(random.Uint64(), uint64(i)))}
		go func() {
			for n := 0; n < 60 || c.tx != nil; n++ {
				if err := c.step(); err != nil {
					failed <- err
					return
				}
				runtime.Gosched()
			}
			failed <- nil
		}()
	}
	var err error
	for range clients {
		err = errors.Join(err, <-failed)
	}
	return err
}

// graph says for each transaction which others come after it: by depends because they read or append to what it wrote, or began
// when it had ended, and by anti because they append to what it read.
type graph struct {
	depends, anti [][]int
}

// graphOf finds the order of the appends to each key in the longest list that was read, and checks that every other
// list is a beginning of it.
func graphOf(done []*listTx) (*graph, error) {
	g := &graph{depends: make([][]int, len(done)), anti: make([][]int, len(done))}
	writer := map[uint32]int{}
	orders := map[int][]uint32{}
	for i, tx := range done {
		for key, numbers := range tx.appends {
			for _, n := range numbers {
				writer[n] = i
			}
			if list := slices.Concat(tx.reads[key], numbers); len(list) > len(orders[key]) {
				orders[key] = list
			}
		}
		for key, list := range tx.reads {
			if len(list) > len(orders[key]) {
				orders[key] = list
			}
		}
	}
	for i, tx := range done {
		for key, list := range tx.reads {
			if err := g.read(i, list, orders[key], writer); err != nil {
				return nil, fmt.Errorf("key %d: %w", key, err)
			}
			if numbers := tx.appends[key]; !slices.Equal(orders[key][len(list):min(len(list)+len(numbers), len(orders[key]))], numbers) {
				return nil, fmt.Errorf("key %d: %v appended to %v, order %v: an update is lost", key, numbers, list, orders[key])
			}
		}
		for k, later := range done {
			if tx.end < later.began && len(tx.appends) > 0 {
				g.depends[i] = append(g.depends[i], k)
			}
		}
	}
	return g, nil
}

func (g *graph) read(reader int, list, order []uint32, writer map[uint32]int) error {
	n := len(list)
	if !slices.Equal(list, order[:n]) {
		return fmt.Errorf("read %v, order %v", list, order)
	}
	for _, number := range list {
		w, ok := writer[number]
		if !ok {
			return fmt.Errorf("read %d, which was not committed", number)
		}
		if w != reader {
			g.depends[w] = append(g.depends[w], reader)
		}
	}
	if n > 0 && n < len(order) && writer[list[n-1]] != writer[order[n]] {
		g.depends[writer[list[n-1]]] = append(g.depends[writer[list[n-1]]], writer[order[n]])
	}
	if n < len(order) && writer[order[n]] != reader {
		g.anti[reader] = append(g.anti[reader], writer[order[n]])
	}
	return nil
}

// cycle finds any cycle.
func (g *graph) cycle() []int {
	return findCycle(len(g.depends), func(i int) []int { return slices.Concat(g.depends[i], g.anti[i]) })
}

// cycleWithoutSkew finds a cycle in which no two anti-dependencies follow each other: those are the ones that snapshot
// isolation forbids. An anti-dependency counts only as the second half of an edge.
func (g *graph) cycleWithoutSkew() []int {
	return findCycle(len(g.depends), func(i int) []int {
		next := slices.Clone(g.depends[i])
		for _, k := range g.depends[i] {
			next = append(next, g.anti[k]...)
		}
		return next
	})
}

func findCycle(count int, next func(int) []int) (cycle []int) {
	state := make([]int, count) // 1: on the path, 2: done
	var path []int
	var visit func(i int) bool
	visit = func(i int) bool {
		state[i] = 1
		path = append(path, i)
		for _, k := range next(i) {
			if state[k] == 1 {
				cycle = slices.Clone(path[slices.Index(path, k):])
				return true
			}
			if state[k] == 0 && visit(k) {
				return true
			}
		}
		state[i] = 2
		path = path[:len(path)-1]
		return false
	}
	for i := range count {
		if state[i] == 0 && visit(i) {
			return cycle
		}
	}
	return nil
}

// TestTheCheckerFindsWhatIsWrong gives it histories with a lost update, a read of what was never committed, a fractured read and
// a write skew.
func TestTheCheckerFindsWhatIsWrong(t *testing.T) {
	tx := func(reads, appends map[int][]uint32) *listTx {
		return &listTx{reads: reads, appends: appends, began: 0, end: 10}
	}
	type lists = map[int][]uint32
	if _, err := graphOf([]*listTx{tx(lists{1: {}}, lists{1: {1}}), tx(lists{1: {}}, lists{1: {2}})}); err == nil {
		t.Error("a lost update is not found")
	}
	if _, err := graphOf([]*listTx{tx(lists{1: {7}}, lists{})}); err == nil {
		t.Error("a read of nothing is not found")
	}
	fractured, err := graphOf([]*listTx{tx(lists{1: {}, 2: {}}, lists{1: {1}, 2: {2}}), tx(lists{1: {1}, 2: {}}, lists{})})
	if err != nil || fractured.cycleWithoutSkew() == nil {
		t.Error("a fractured read is not found", err)
	}
	skew, err := graphOf([]*listTx{tx(lists{1: {}, 2: {}}, lists{1: {1}}), tx(lists{1: {}, 2: {}}, lists{2: {2}})})
	if err != nil || skew.cycle() == nil || skew.cycleWithoutSkew() != nil {
		t.Error("a write skew is not told from worse", err)
	}
}
