package main

import (
	"math/bits"
	"time"
)

// histogram counts durations in 32 steps per power of two, which is three per cent.
type histogram struct {
	counts [64 * 32]uint32
	total  int
}

func bucketOf(d time.Duration) int {
	n := uint64(max(d, 0))
	if n < 32 {
		return int(n)
	}
	shift := bits.Len64(n) - 6
	return (shift+1)*32 + int(n>>shift) - 32
}

// lowest is the least duration of a bucket.
func lowest(bucket int) time.Duration {
	if bucket < 32 {
		return time.Duration(bucket)
	}
	return time.Duration(bucket%32+32) << (bucket/32 - 1)
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(d)]++
	h.total++
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
}

// quantile is the duration that a share of all does not exceed, less the given cost of the clock.
func (h *histogram) quantile(share float64, clock time.Duration) time.Duration {
	rank, sum := int(share*float64(h.total)), 0
	for i, n := range h.counts {
		if sum += int(n); sum > rank {
			return max(lowest(i)-clock, 0)
		}
	}
	return 0
}

// clockCost is what taking the time before and after nothing yields, mostly.
func clockCost() time.Duration {
	var h histogram
	for range 100_000 {
		h.add(time.Since(time.Now()))
	}
	return h.quantile(0.5, 0)
}
