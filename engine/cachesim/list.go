package cachesim

// lists are rings of keys, linked through arrays: a key is in one of them or in none.
type lists struct {
	next, before []int32 // by key, then by list: a list's own element is its end
	of           []uint8 // which list a key is in, counted from 1
	count        []int
	keys         int
}

func newLists(keys, count int) *lists {
	l := &lists{
		next: make([]int32, keys+count), before: make([]int32, keys+count),
		of: make([]uint8, keys), count: make([]int, count), keys: keys,
	}
	for i := range count {
		l.next[keys+i], l.before[keys+i] = int32(keys+i), int32(keys+i)
	}
	return l
}

// in gives the list that a key is in, or -1.
func (l *lists) in(key uint32) int { return int(l.of[key]) - 1 }

// push moves a key to the front of a list, from wherever it was.
func (l *lists) push(list int, key uint32) {
	l.remove(key)
	end, k := int32(l.keys+list), int32(key)
	first := l.next[end]
	l.next[k], l.before[k] = first, end
	l.next[end], l.before[first] = k, k
	l.of[key] = uint8(list + 1)
	l.count[list]++
}

// remove takes a key out of its list.
func (l *lists) remove(key uint32) {
	if l.of[key] == 0 {
		return
	}
	l.count[l.of[key]-1]--
	l.of[key] = 0
	l.next[l.before[key]], l.before[l.next[key]] = l.next[key], l.before[key]
}

// last is the oldest key of a list that is not empty.
func (l *lists) last(list int) uint32 { return uint32(l.before[l.keys+list]) }
