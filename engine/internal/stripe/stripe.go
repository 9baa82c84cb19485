package stripe

import (
	"sync/atomic"
	"unsafe"
)

// Count is how many stripes there are. Two goroutines share one with a chance of one in Count.
const Count = 32

// Line is a counter on a cache line of its own.
type Line struct {
	atomic.Int64
	_ [56]byte
}

// Lines is a counter in stripes.
type Lines [Count]Line

// Index picks the stripe of the calling goroutine. It may be another one at the next call, when the stack has grown or moved, or the
// call is a deeper one. Only the number of the address is used, never what is there.
func Index() int {
	var here byte
	const golden = 0x9E3779B97F4A7C15
	return int(uint64(uintptr(unsafe.Pointer(&here))>>12) * golden >> 59) // SP1: five bits
}

// Sum adds all stripes up, each as it is when it is read.
func (l *Lines) Sum() (sum int64) {
	for i := range l {
		sum += l[i].Load()
	}
	return sum
}

// Add adds to the caller's stripe.
func (l *Lines) Add(n int64) { l[Index()].Add(n) }
