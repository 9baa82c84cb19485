package placement

import "slices"

// one is a whole replica or leadership where shares are counted in thousandths.
const one = 1000

// domain is what fails at once: a zone, or a node that names none.
func (n Node) domain() string {
	if n.Zone == "" {
		return "\x00" + string(n.ID)
	}
	return n.Zone
}

// zoneLimit is how many replicas of one group a zone holds at most: as few as there is room for.
func zoneLimit(zones []int, replication int) int {
	for limit := 1; ; limit++ {
		room := 0
		for _, nodes := range zones {
			room += min(limit, nodes)
		}
		if room >= replication || limit >= replication {
			return limit
		}
	}
}

// filler finds fair shares of total replicas: in proportion to weight, but no node holds two
// replicas of one group and no zone more of one group than its limit. What a full node or zone cannot
// take goes to the others.
type filler struct {
	weights []int
	zones   [][]int // the nodes of each zone
	limits  []int64 // what each zone can take
	each    int64   // what each node can take
}

// levelBits are the binary places of a level, which is replicas per weight: weights reach 2^14 and
// replicas 2^10.
const levelBits = 32

// shares are in thousandths. Their sum is total, unless that is more than all can take.
func (f *filler) shares(total int64) []int64 {
	out := make([]int64, len(f.weights))
	level := lowest(func(level int64) bool {
		sum := int64(0)
		for z := range f.zones {
			sum += min(f.limits[z]<<levelBits, f.zoneAt(z, level))
		}
		return sum >= total<<levelBits
	})
	for z, nodes := range f.zones {
		mine := level
		if f.zoneAt(z, level) > f.limits[z]<<levelBits {
			mine = lowest(func(level int64) bool { return f.zoneAt(z, level) >= f.limits[z]<<levelBits })
		}
		for _, n := range nodes {
			out[n] = (f.at(n, mine)*one + 1<<(levelBits-1)) >> levelBits
		}
	}
	return out
}

func (f *filler) at(node int, level int64) int64 {
	return min(f.each<<levelBits, level*int64(f.weights[node]))
}

func (f *filler) zoneAt(zone int, level int64) int64 {
	sum := int64(0)
	for _, n := range f.zones[zone] {
		sum += f.at(n, level)
	}
	return sum
}

// maxLevel is a thousand replicas at weight 1.
const maxLevel = int64(1) << (levelBits + 10)

// lowest finds the lowest level that is enough.
func lowest(enough func(int64) bool) int64 {
	low, high := int64(0), maxLevel
	for low < high {
		if middle := (low + high) / 2; enough(middle) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// byZone groups nodes, which are in order of id, by zone in order of name.
func byZone(nodes []Node) [][]int {
	index := map[string]int{}
	names := []string{}
	for _, n := range nodes {
		if _, known := index[n.domain()]; !known {
			index[n.domain()] = 0
			names = append(names, n.domain())
		}
	}
	slices.Sort(names)
	for i, name := range names {
		index[name] = i
	}
	out := make([][]int, len(names))
	for i, n := range nodes {
		z := index[n.domain()]
		out[z] = append(out[z], i)
	}
	return out
}
