package table

// treeFanout is how many numbers a node of a tree has: two cache lines.
const treeFanout = 16

// tree is a static B+tree over ascending numbers that has no pointers: its lowest level is the numbers, and each
// level above it has the last number of each node below. Which child to go to follows from the place in the node.
type tree struct {
	levels [][]uint64 // the numbers first
}

func newTree(numbers []uint64) tree {
	t := tree{levels: [][]uint64{numbers}}
	for len(numbers) > treeFanout {
		above := make([]uint64, 0, (len(numbers)+treeFanout-1)/treeFanout)
		for end := treeFanout; end < len(numbers)+treeFanout; end += treeFanout {
			above = append(above, numbers[min(end, len(numbers))-1])
		}
		t.levels = append(t.levels, above)
		numbers = above
	}
	return t
}

// find counts the numbers below another one.
func (t *tree) find(number uint64) int {
	node := 0 // at the level
	for i := len(t.levels) - 1; i >= 0; i-- {
		level := t.levels[i]
		start := node * treeFanout
		end := min(start+treeFanout, len(level))
		if start > end {
			return len(t.levels[0]) // behind the last number of all
		}
		node = start
		for _, n := range level[start:end] {
			if n < number {
				node++
			}
		}
	}
	return node
}

// bytes is what the tree takes in memory.
func (t *tree) bytes() (n int) {
	for _, level := range t.levels {
		n += 8 * len(level)
	}
	return n
}
