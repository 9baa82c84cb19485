package history

import (
	"fmt"
	"slices"
	"strings"
)

// dependency says why one transaction comes after another.
type dependency uint8

const (
	writeWrite dependency = 1 << iota // it appended behind the other's append
	writeRead                         // it read what the other appended
	readWrite                         // it appended what the other did not see
	realTime                          // it began after the other had returned
)

// String implements fmt.Stringer.
func (d dependency) String() string {
	names := map[dependency]string{writeWrite: "ww", writeRead: "wr", readWrite: "rw", realTime: "rt"}
	return names[d]
}

// graph holds who must come after whom.
type graph struct {
	after [][]edge // by transaction
	count int
}

type edge struct {
	to  int32
	why dependency
}

func (g *graph) add(from, to int, why dependency) {
	if from != to {
		g.after[from] = append(g.after[from], edge{int32(to), why})
		g.count++
	}
}

func (c *listChecker) graph() *graph {
	g := &graph{after: make([][]edge, len(c.all))}
	for _, key := range c.names {
		l := c.lists[key]
		for i := 1; i < len(l.longest); i++ {
			g.add(l.writers[l.longest[i-1]].by, l.writers[l.longest[i]].by, writeWrite)
		}
		for _, r := range l.reads {
			if n := len(r.seen); n > 0 {
				g.add(l.writers[r.seen[n-1]].by, r.by, writeRead)
			}
			if n := len(r.seen); n < len(l.longest) {
				g.add(r.by, l.writers[l.longest[n]].by, readWrite)
			}
		}
	}
	c.addRealTime(g)
	return g
}

// addRealTime keeps a frontier of transactions that have returned and behind which no other one that
// has returned began. An edge from each of them to what begins implies all older edges, so there are only as many as
// transactions times their concurrency.
func (c *listChecker) addRealTime(g *graph) {
	type moment struct {
		at      int64
		returns bool
		by      int
	}
	var moments []moment
	for i, t := range c.all {
		if !c.committed[i] {
			continue
		}
		moments = append(moments, moment{int64(t.Call), false, i})
		if t.Outcome == OK {
			moments = append(moments, moment{int64(t.Return), true, i})
		}
	}
	slices.SortFunc(moments, func(a, b moment) int {
		switch {
		case a.at != b.at:
			return int(min(max(a.at-b.at, -1), 1))
		case a.returns != b.returns && !a.returns: // at one instant, calls come first: they overlap
			return -1
		case a.returns != b.returns:
			return 1
		}
		return a.by - b.by
	})
	var frontier []int
	before := make(map[int][]int) // what was the frontier when a transaction began
	for _, m := range moments {
		if !m.returns {
			before[m.by] = slices.Clone(frontier)
			for _, earlier := range frontier {
				g.add(earlier, m.by, realTime)
			}
			continue
		}
		old := before[m.by]
		delete(before, m.by)
		frontier = slices.DeleteFunc(frontier, func(i int) bool { return slices.Contains(old, i) })
		frontier = append(frontier, m.by)
	}
}

// check looks for a cycle, in the edges of the gravest anomaly first.
func (g *graph) check(all []Transaction) error {
	for _, kinds := range []dependency{writeWrite, writeWrite | writeRead, writeWrite | writeRead | readWrite, writeWrite | writeRead | readWrite | realTime} {
		component := g.component(kinds)
		if component == nil {
			continue
		}
		cycle, why := g.shortest(component, kinds)
		a := &Anomaly{Name: cycleName(why)}
		steps := make([]string, len(cycle))
		for i, by := range cycle {
			a.Transactions = append(a.Transactions, all[by])
			steps[i] = fmt.Sprintf("T%d -%v->", i+1, why[i])
		}
		a.What = fmt.Sprintf("a cycle of %d transactions: %s T1", len(cycle), strings.Join(steps, " "))
		return a
	}
	return nil
}

func cycleName(why []dependency) string {
	count := map[dependency]int{}
	for _, w := range why {
		count[w]++
	}
	switch {
	case count[realTime] > 0:
		return "realtime"
	case count[readWrite] == 1:
		return "G-single"
	case count[readWrite] > 1:
		return "G2"
	case count[writeRead] > 0:
		return "G1c"
	default:
		return "G0"
	}
}

// component is the smallest strongly connected component of more than one transaction, by Tarjan's method
// without recursion; nil if there is none.
func (g *graph) component(kinds dependency) []int {
	n := len(g.after)
	index, low := make([]int32, n), make([]int32, n)
	onStack, next := make([]bool, n), make([]int32, n)
	var stack, path []int
	var best []int
	counter := int32(0)
	enter := func(v int) {
		counter++
		index[v], low[v], onStack[v] = counter, counter, true
		stack, path = append(stack, v), append(path, v)
	}
	for root := range n {
		if index[root] != 0 {
			continue
		}
		enter(root)
		for len(path) > 0 {
			v := path[len(path)-1]
			if int(next[v]) < len(g.after[v]) {
				e := g.after[v][next[v]]
				next[v]++
				switch {
				case e.why&kinds == 0:
				case index[e.to] == 0:
					enter(int(e.to))
				case onStack[e.to]:
					low[v] = min(low[v], index[e.to])
				}
				continue
			}
			path = path[:len(path)-1]
			if len(path) > 0 {
				parent := path[len(path)-1]
				low[parent] = min(low[parent], low[v])
			}
			if low[v] != index[v] {
				continue
			}
			at := slices.Index(stack, v)
			found := stack[at:]
			for _, w := range found {
				onStack[w] = false
			}
			if len(found) > 1 && (best == nil || len(found) < len(best)) {
				best = slices.Clone(found)
			}
			stack = stack[:at]
		}
	}
	return best
}

// shortest is a shortest cycle through one of the transactions of a component, and why each comes
// before the next.
func (g *graph) shortest(component []int, kinds dependency) (cycle []int, why []dependency) {
	const maxStarts = 50 // of a component that is large, any short cycle will do
	inside := map[int]bool{}
	for _, v := range component {
		inside[v] = true
	}
	for _, start := range component[:min(len(component), maxStarts)] {
		type step struct {
			from int
			why  dependency
		}
		came := map[int]step{}
		queue := []int{start}
		for len(queue) > 0 {
			v := queue[0]
			queue = queue[1:]
			for _, e := range g.after[v] {
				to := int(e.to)
				if _, seen := came[to]; e.why&kinds == 0 || !inside[to] || seen {
					continue
				}
				came[to] = step{v, e.why}
				queue = append(queue, to)
			}
			if _, closed := came[start]; closed {
				break
			}
		}
		var nodes []int
		var reasons []dependency
		for v := start; ; {
			s := came[v]
			nodes, reasons = append(nodes, s.from), append(reasons, s.why)
			if v = s.from; v == start {
				break
			}
		}
		slices.Reverse(nodes)
		slices.Reverse(reasons)
		if cycle == nil || len(nodes) < len(cycle) {
			cycle, why = nodes, reasons
		}
	}
	return cycle, why
}
