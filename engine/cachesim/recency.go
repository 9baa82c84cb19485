package cachesim

// lru drops what was read longest ago.
type lru struct {
	*lists
	capacity int
}

func newLRU(capacity, keys int) Policy { return &lru{newLists(keys, 1), capacity} }

func (c *lru) Read(key uint32) bool {
	hit := c.in(key) == 0
	if !hit && c.count[0] == c.capacity {
		c.remove(c.last(0))
	}
	c.push(0, key)
	return hit
}

// clock is LRU with one bit for a key in place of an order.
type clock struct {
	*lists
	capacity int
	used     []bool
}

func newClock(capacity, keys int) Policy {
	return &clock{newLists(keys, 1), capacity, make([]bool, keys)}
}

func (c *clock) Read(key uint32) bool {
	if c.in(key) == 0 {
		c.used[key] = true
		return true
	}
	for c.count[0] == c.capacity {
		last := c.last(0)
		if c.used[last] {
			c.used[last] = false
			c.push(0, last)
			continue
		}
		c.remove(last)
	}
	c.used[key] = false
	c.push(0, key)
	return false
}

// sieve is that of Zhang et al., NSDI 2024: a clock whose survivors keep their places.
type sieve struct {
	*lists
	capacity int
	used     []bool
	hand     int32
}

func newSieve(capacity, keys int) Policy {
	return &sieve{newLists(keys, 1), capacity, make([]bool, keys), int32(keys)}
}

func (c *sieve) Read(key uint32) bool {
	if c.in(key) == 0 {
		c.used[key] = true
		return true
	}
	if c.count[0] == c.capacity {
		c.evict()
	}
	c.used[key] = false
	c.push(0, key)
	return false
}

func (c *sieve) evict() {
	for end := int32(c.keys); ; c.hand = c.before[c.hand] {
		if c.hand == end {
			c.hand = c.before[end]
		}
		if !c.used[c.hand] {
			break
		}
		c.used[c.hand] = false
	}
	victim := c.hand
	c.hand = c.before[victim]
	c.remove(uint32(victim))
}

// arc is that of Megiddo and Modha, FAST 2003.
type arc struct {
	*lists
	capacity int
	target   int // of recent
}

// The lists of arc: what was read once, more than once, and what was dropped of either.
const (
	recent = iota
	frequent
	recentGone
	frequentGone
)

func newARC(capacity, keys int) Policy { return &arc{lists: newLists(keys, 4), capacity: capacity} }

func (c *arc) Read(key uint32) bool {
	switch c.in(key) {
	case recent, frequent:
		c.push(frequent, key)
		return true
	case recentGone:
		c.target = min(c.capacity, c.target+max(1, c.count[frequentGone]/c.count[recentGone]))
		c.replace(false)
		c.push(frequent, key)
		return false
	case frequentGone:
		c.target = max(0, c.target-max(1, c.count[recentGone]/c.count[frequentGone]))
		c.replace(true)
		c.push(frequent, key)
		return false
	}
	all := c.count[recent] + c.count[frequent] + c.count[recentGone] + c.count[frequentGone]
	switch {
	case c.count[recent]+c.count[recentGone] == c.capacity && c.count[recent] < c.capacity:
		c.remove(c.last(recentGone))
		c.replace(false)
	case c.count[recent] == c.capacity:
		c.remove(c.last(recent))
	case all >= c.capacity:
		if all == 2*c.capacity {
			c.remove(c.last(frequentGone))
		}
		c.replace(false)
	}
	c.push(recent, key)
	return false
}

func (c *arc) replace(wasFrequent bool) {
	if c.count[recent]+c.count[frequent] < c.capacity {
		return
	}
	if n := c.count[recent]; n > 0 && (n > c.target || wasFrequent && n == c.target) {
		c.push(recentGone, c.last(recent))
		return
	}
	c.push(frequentGone, c.last(frequent))
}
