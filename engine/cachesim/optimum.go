package cachesim

import "container/heap"

// Optimum is the share of hits of Belady's rule: drop what is read again last, and do not keep at all what
// is read again later than everything held. No policy can have more.
func Optimum(t Trace, capacity int) float64 {
	next := nextReads(t)
	o := optimum{heldUntil: make([]int32, t.Keys)}
	hits := 0
	for i, key := range t.Read {
		if o.heldUntil[key] != 0 {
			hits++
		} else {
			o.count++
		}
		o.heldUntil[key] = next[i]
		heap.Push(&o.held, reread{next[i], key})
		for o.count > capacity {
			o.evict()
		}
	}
	return float64(hits) / float64(len(t.Read))
}

// nextReads gives for each read when its key is read again; never is after all others, and none is 0.
func nextReads(t Trace) []int32 {
	next, last := make([]int32, len(t.Read)), make([]int32, t.Keys)
	for i := range last {
		last[i] = int32(len(t.Read))
	}
	for i := len(t.Read) - 1; i >= 0; i-- {
		next[i] = last[t.Read[i]]
		last[t.Read[i]] = int32(i)
	}
	return next
}

type reread struct {
	at  int32
	key uint32
}

type optimum struct {
	heldUntil []int32 // by key: when it is read again, 0 if it is not held
	held      rereads // some of which are over: those with another time than heldUntil
	count     int
}

// evict drops the key that is read again last.
func (o *optimum) evict() {
	r := heap.Pop(&o.held).(reread)
	if o.heldUntil[r.key] == r.at {
		o.heldUntil[r.key] = 0
		o.count--
	}
}

// rereads is a heap with the last one on top.
type rereads []reread

func (r rereads) Len() int           { return len(r) }
func (r rereads) Less(i, j int) bool { return r[i].at > r[j].at }
func (r rereads) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *rereads) Push(x any)        { *r = append(*r, x.(reread)) }
func (r *rereads) Pop() any {
	last := (*r)[len(*r)-1]
	*r = (*r)[:len(*r)-1]
	return last
}
