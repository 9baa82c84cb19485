package history

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// ErrNotSerializable says that no order of the transactions explains what they saw.
var ErrNotSerializable = errors.New("history is not strictly serializable")

// Anomaly is a violation that CheckLists found.
type Anomaly struct {
	// Name is what the literature calls it: G0, G1a, G1b, G1c, G-single, G2, or of this package: internal,
	// incompatible order, duplicate, garbage, lost append, realtime.
	Name string
	// What is for people.
	What string
	// Transactions are the witnesses; of a cycle, in its order.
	Transactions []Transaction
}

// Error implements error.
func (a *Anomaly) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v: %s: %s", ErrNotSerializable, a.Name, a.What)
	for _, t := range a.Transactions {
		fmt.Fprintf(&b, "\n  %v", t)
	}
	return b.String()
}

// Is makes errors.Is(err, ErrNotSerializable) true.
func (a *Anomaly) Is(target error) bool { return target == ErrNotSerializable }

// ListReport says what was checked.
type ListReport struct {
	Transactions, Unknown, Keys, Edges int
	Took                               time.Duration
}

// String prints one line.
func (r ListReport) String() string {
	return fmt.Sprintf("%d transactions (%d unknown) on %d lists, %d edges, checked in %v",
		r.Transactions, r.Unknown, r.Keys, r.Edges, r.Took.Round(time.Millisecond))
}

// CheckLists decides whether the transactions could have been done one after the other, each between its
// call and its return. The method is that of Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from
// Experimental Observations": lists show the order of their writers, who depends on whom is a graph, and a
// cycle in it is a violation. To that it adds that an append which was acknowledged is in every read
// that began later, because nothing depends on an append that nobody saw.
func CheckLists(transactions []Transaction) (ListReport, error) {
	began := time.Now()
	c := &listChecker{all: transactions, lists: map[string]*list{}}
	report := ListReport{Transactions: len(transactions)}
	for _, t := range transactions {
		if t.Outcome == Unknown {
			report.Unknown++
		}
	}
	err := c.run(&report)
	report.Keys, report.Took = len(c.lists), time.Since(began)
	return report, err
}

// listChecker is one check under way. Transactions are known by their place in all.
type listChecker struct {
	all   []Transaction
	lists map[string]*list
	names []string // of lists, sorted
	// committed says which transactions were done: those that are OK and, of the unknown, those
	// that somebody saw something of.
	committed []bool
}

// list is one key.
type list struct {
	writers map[int64]appended // of each value
	longest []int64            // the longest read: the order of versions
	reader  int                // who read it
	reads   []listRead
}

type appended struct {
	by    int  // the transaction
	final bool // its last append to this list
}

// listRead is one read of a list by a transaction that is OK, without what itself appended before.
type listRead struct {
	by   int
	seen []int64
}

func (c *listChecker) run(report *ListReport) error {
	for _, step := range []func() error{c.collectWrites, c.collectReads, c.checkPrefixes, c.checkWriters, c.checkLost} {
		if err := step(); err != nil {
			return err
		}
	}
	g := c.graph()
	report.Edges = g.count
	return g.check(c.all)
}

func (c *listChecker) anomaly(name string, by []int, format string, args ...any) error {
	a := &Anomaly{Name: name, What: fmt.Sprintf(format, args...)}
	for _, i := range by {
		a.Transactions = append(a.Transactions, c.all[i])
	}
	return a
}

func (c *listChecker) list(key string) *list {
	l := c.lists[key]
	if l == nil {
		l = &list{writers: map[int64]appended{}}
		c.lists[key] = l
		c.names = append(c.names, key)
	}
	return l
}

func (c *listChecker) collectWrites() error {
	c.committed = make([]bool, len(c.all))
	for i, t := range c.all {
		c.committed[i] = t.Outcome == OK
		last := map[string]int64{}
		for _, op := range t.Ops {
			l := c.list(op.Key)
			if !op.Append {
				continue
			}
			if earlier, ok := l.writers[op.Value]; ok {
				return c.anomaly("duplicate", []int{earlier.by, i}, "the test appends %d twice to %s", op.Value, op.Key)
			}
			l.writers[op.Value] = appended{by: i}
			last[op.Key] = op.Value
		}
		for key, value := range last {
			c.lists[key].writers[value] = appended{by: i, final: true}
		}
	}
	slices.Sort(c.names)
	return nil
}

// collectReads checks what each transaction saw of its own appends and keeps what it saw of others.
func (c *listChecker) collectReads() error {
	for i, t := range c.all {
		if t.Outcome != OK {
			continue
		}
		own := map[string][]int64{}   // appended by this transaction so far
		known := map[string][]int64{} // what others had appended, once it was read
		for _, op := range t.Ops {
			if op.Append {
				own[op.Key] = append(own[op.Key], op.Value)
				continue
			}
			mine := own[op.Key]
			others := len(op.Read) - len(mine)
			if others < 0 || !slices.Equal(op.Read[others:], mine) {
				return c.anomaly("internal", []int{i}, "a read of %s does not end with what its own transaction appended, %v", op.Key, mine)
			}
			seen, again := known[op.Key]
			if again && !slices.Equal(seen, op.Read[:others]) {
				return c.anomaly("internal", []int{i}, "two reads of %s in one transaction differ: %v, %v", op.Key, seen, op.Read[:others])
			}
			if again {
				continue
			}
			known[op.Key] = op.Read[:others:others]
			l := c.lists[op.Key]
			l.reads = append(l.reads, listRead{by: i, seen: known[op.Key]})
			if len(op.Read) > len(l.longest) {
				l.longest, l.reader = op.Read, i
			}
		}
		for key, mine := range own { // appends after the read: the version that the next reader may see
			if seen, ok := known[key]; ok && len(seen)+len(mine) > len(c.lists[key].longest) {
				c.lists[key].longest, c.lists[key].reader = slices.Concat(seen, mine), i
			}
		}
	}
	return nil
}

// checkPrefixes: a list only grows, so every read is a prefix of the longest.
func (c *listChecker) checkPrefixes() error {
	for _, key := range c.names {
		l := c.lists[key]
		found := map[int64]bool{}
		for _, v := range l.longest {
			if found[v] {
				return c.anomaly("duplicate", []int{l.writers[v].by, l.reader}, "%d is twice in %s", v, key)
			}
			found[v] = true
		}
		for _, r := range l.reads {
			if !slices.Equal(r.seen, l.longest[:min(len(r.seen), len(l.longest))]) {
				return c.anomaly("incompatible order", []int{r.by, l.reader}, "two reads of %s, neither of which is the beginning of the other", key)
			}
		}
	}
	return nil
}

// checkWriters: what is in a list was appended by a transaction that was done, and done as a whole.
func (c *listChecker) checkWriters() error {
	for _, key := range c.names {
		l := c.lists[key]
		for i, v := range l.longest {
			w, ok := l.writers[v]
			switch {
			case !ok:
				return c.anomaly("garbage", []int{l.reader}, "%d in %s was appended by nobody", v, key)
			case c.all[w.by].Outcome == Failed:
				return c.anomaly("G1a", []int{w.by, l.reader}, "%d in %s is of a transaction that was refused", v, key)
			}
			c.committed[w.by] = true
			if i+1 < len(l.longest) && !w.final && l.writers[l.longest[i+1]].by != w.by {
				return c.anomaly("G1b", []int{w.by, l.writers[l.longest[i+1]].by}, "in %s another append comes between those of one transaction", key)
			}
		}
		for _, r := range l.reads {
			if len(r.seen) == 0 {
				continue
			}
			if w := l.writers[r.seen[len(r.seen)-1]]; !w.final {
				return c.anomaly("G1b", []int{w.by, r.by}, "a read of %s sees a transaction half done", key)
			}
		}
	}
	return nil
}

// checkLost: an append that was acknowledged is in every read that began later.
func (c *listChecker) checkLost() error {
	for _, key := range c.names {
		l := c.lists[key]
		if len(l.reads) == 0 {
			continue
		}
		reads := slices.Clone(l.reads)
		slices.SortFunc(reads, func(a, b listRead) int { return int(c.all[a.by].Call - c.all[b.by].Call) })
		shortest := make([]int, len(reads)) // of this read and all that began later
		for i := len(reads) - 1; i >= 0; i-- {
			shortest[i] = i
			if i+1 < len(reads) && len(reads[shortest[i+1]].seen) < len(reads[i].seen) {
				shortest[i] = shortest[i+1]
			}
		}
		place := map[int64]int{}
		for i, v := range l.longest {
			place[v] = i
		}
		for v, w := range l.writers {
			t := c.all[w.by]
			if t.Outcome != OK {
				continue
			}
			first := sort.Search(len(reads), func(i int) bool { return c.all[reads[i].by].Call > t.Return })
			if first == len(reads) {
				continue
			}
			r := reads[shortest[first]]
			if at, ok := place[v]; !ok || at >= len(r.seen) {
				return c.anomaly("lost append", []int{w.by, r.by}, "%d was acknowledged and is not in %s afterwards", v, key)
			}
		}
	}
	return nil
}
