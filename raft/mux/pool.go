package mux

import (
	"math/bits"
	"sync"
)

// bufferPool keeps the buffers of batches by size, in powers of two. It implements grpc's
// mem.BufferPool. grpc's own clears each buffer that it gives, up to a megabyte for a batch that
// needs a tenth of that; ours are overwritten before they are read.
//
// BenchmarkBatchBuffers has the figures.
type bufferPool struct {
	classes [maxPooledBits - minPooledBits + 1]sync.Pool
}

const (
	minPooledBits = 11 // below it gRPC does not give buffers back
	maxPooledBits = 20
)

var buffers bufferPool

// class is the index of the smallest class of at least n bytes.
func class(n int) int { return max(bits.Len(uint(max(n, 1)-1)), minPooledBits) - minPooledBits }

// Get returns a buffer of n bytes whose content is undefined.
func (p *bufferPool) Get(n int) *[]byte {
	c := class(n)
	if c >= len(p.classes) {
		b := make([]byte, n)
		return &b
	}
	if b, ok := p.classes[c].Get().(*[]byte); ok {
		*b = (*b)[:n]
		return b
	}
	b := make([]byte, n, 1<<(c+minPooledBits))
	return &b
}

// Put takes a buffer back. Nobody may use it any more.
func (p *bufferPool) Put(b *[]byte) {
	if n := cap(*b); n == 1<<bits.Len(uint(n-1)) && n >= 1<<minPooledBits && n <= 1<<maxPooledBits {
		p.classes[class(n)].Put(b)
	}
}
