package placement

// fairLeads is what each node leads, in thousandths, when leaders are as even by weight as the replicas allow: no
// leadership, nor a part of one, can go along candidates from a node that leads more for its weight to one that leads less.
// It is unique, and the floor or the ceiling of it is what a node leads in the best assignment of whole leaderships
// (Harvey, Ladner, Lovász and Tamir, Semi-matchings for bipartite graphs and load balancing, 2006).
//
// candidates are the nodes that could lead each shard, none for a shard that does not take part.
func fairLeads(candidates [][]int, weights []int64) []int64 {
	e := evener{candidates: candidates, weights: weights, parts: make([][]int64, len(candidates)), sum: make([]int64, len(weights))}
	for shard, nodes := range candidates {
		e.parts[shard] = make([]int64, len(nodes))
		for at, n := range nodes {
			e.parts[shard][at] = leadParts / int64(len(nodes))
			if at < int(leadParts%int64(len(nodes))) {
				e.parts[shard][at]++
			}
			e.sum[n] += e.parts[shard][at]
		}
	}
	for e.improve() {
	}
	out := make([]int64, len(weights))
	for n, sum := range e.sum {
		out[n] = (sum*one + leadParts/2) / leadParts
	}
	return out
}

// leadParts is how many parts a leadership is divided into: finer than a thousandth, so that shares are exact to one.
const leadParts = 10_080

// evener divides leaderships. Every improvement lessens the sum of squares by weight, so they come to an end.
type evener struct {
	candidates [][]int
	weights    []int64
	parts      [][]int64 // of each shard, by the index of a candidate
	sum        []int64   // parts by node
}

// improve brings parts from each node to the one that leads least for its weight of those it can reach. It reports
// whether there were any.
func (e *evener) improve() bool {
	holds := make([][]int, len(e.weights)) // shards with the node among the candidates
	for shard, nodes := range e.candidates {
		for _, n := range nodes {
			holds[n] = append(holds[n], shard)
		}
	}
	improved := false
	for from := range e.weights {
		for e.relieve(from, holds) {
			improved = true
		}
	}
	return improved
}

// hand is parts of a shard that go from one candidate to another.
type hand struct{ shard, from, to int } // indices of candidates

// relieve looks for the node that can be reached and leads least for its weight.
func (e *evener) relieve(start int, holds [][]int) bool {
	came := make([]*hand, len(e.weights))
	came[start] = &hand{shard: -1}
	queue, best := []int{start}, start
	for len(queue) > 0 {
		near := queue[0]
		queue = queue[1:]
		if e.sum[near]*e.weights[best] < e.sum[best]*e.weights[near] {
			best = near
		}
		for _, shard := range holds[near] {
			from := index(e.candidates[shard], near)
			if e.parts[shard][from] == 0 {
				continue
			}
			for to, far := range e.candidates[shard] {
				if came[far] == nil {
					came[far] = &hand{shard: shard, from: from, to: to}
					queue = append(queue, far)
				}
			}
		}
	}
	return e.carry(came, start, best)
}

// carry takes as many parts along the way as make both ends even, or as there are on the way.
func (e *evener) carry(came []*hand, start, end int) bool {
	count := (e.sum[start]*e.weights[end] - e.sum[end]*e.weights[start]) / (e.weights[start] + e.weights[end])
	for n := end; n != start; n = e.candidates[came[n].shard][came[n].from] {
		count = min(count, e.parts[came[n].shard][came[n].from])
	}
	if count <= 0 {
		return false
	}
	for n := end; n != start; n = e.candidates[came[n].shard][came[n].from] {
		h := came[n]
		e.parts[h.shard][h.from] -= count
		e.parts[h.shard][h.to] += count
	}
	e.sum[start] -= count
	e.sum[end] += count
	return true
}

func index(nodes []int, node int) int {
	for at, n := range nodes {
		if n == node {
			return at
		}
	}
	return -1
}
