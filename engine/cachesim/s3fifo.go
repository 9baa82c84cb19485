package cachesim

// s3fifo is that of Yang et al., SOSP 2023: three queues, of which a tenth of the cache is for what is new.
type s3fifo struct {
	*lists
	capacity int
	used     []uint8
}

// The queues of s3fifo.
const (
	small = iota
	main
	gone
)

func newS3FIFO(capacity, keys int) Policy {
	return &s3fifo{newLists(keys, 3), capacity, make([]uint8, keys)}
}

func (c *s3fifo) Read(key uint32) bool {
	if in := c.in(key); in == small || in == main {
		c.used[key] = min(c.used[key]+1, 3)
		return true
	}
	to := small
	if c.in(key) == gone {
		to = main
	}
	c.remove(key)
	for c.count[small]+c.count[main] >= c.capacity {
		if c.count[small] >= max(1, c.capacity/10) || c.count[main] == 0 {
			c.evictSmall()
		} else {
			c.evictMain()
		}
	}
	c.used[key] = 0
	c.push(to, key)
	return false
}

func (c *s3fifo) evictSmall() {
	last := c.last(small)
	if c.used[last] > 1 {
		c.used[last] = 0
		c.push(main, last)
		return
	}
	c.push(gone, last)
	if c.count[gone] > c.capacity*9/10 {
		c.remove(c.last(gone))
	}
}

func (c *s3fifo) evictMain() {
	last := c.last(main)
	if c.used[last] > 0 {
		c.used[last]--
		c.push(main, last)
		return
	}
	c.remove(last)
}
