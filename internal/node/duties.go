package node

import "sync"

// duties say whether this node is to lead nothing: because the map says so, or because it stops. Safe for concurrent use.
type duties struct {
	// lead is told that the node leads nothing, or that it may; set once. It is quick.
	lead func(nothing bool)

	// mu is held while lead is told, so that what was decided last is told last.
	mu struct {
		sync.Mutex
		drained, leaving bool
	}
}

// setDrained notes what the map says.
func (d *duties) setDrained(drained bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.drained = drained
	d.lead(d.mu.drained || d.mu.leaving)
}

// leave notes that the node stops. There is no way back.
func (d *duties) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.leaving = true
	d.lead(true)
}
