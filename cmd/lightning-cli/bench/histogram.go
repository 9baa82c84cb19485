package bench

import (
	"math/bits"
	"time"
)

// subBuckets per power of two keep percentiles within 1/32, 3 %, of the truth.
const (
	subBits    = 5
	subBuckets = 1 << subBits
	bucketAll  = (64 - subBits + 1) * subBuckets
)

// histogram counts durations. The zero value is empty. Owned by one goroutine.
type histogram struct {
	counts [bucketAll]uint64
	total  uint64
	sum    time.Duration
	max    time.Duration
}

func bucketOf(n uint64) int {
	if n < subBuckets {
		return int(n)
	}
	shift := bits.Len64(n) - 1 - subBits
	return (shift+1)*subBuckets + int(n>>shift) - subBuckets
}

// bucketTop is the largest value of a bucket.
func bucketTop(bucket int) uint64 {
	if bucket < subBuckets {
		return uint64(bucket)
	}
	shift := bucket/subBuckets - 1
	return (uint64(bucket%subBuckets+subBuckets)+1)<<shift - 1
}

func (h *histogram) add(d time.Duration, times uint64) {
	d = max(d, 0)
	h.counts[bucketOf(uint64(d))] += times
	h.total += times
	h.sum += d * time.Duration(times)
	h.max = max(h.max, d)
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
	h.sum += other.sum
	h.max = max(h.max, other.max)
}

// quantile is a duration that the share q of all is not above.
func (h *histogram) quantile(q float64) time.Duration {
	want := uint64(q * float64(h.total))
	seen := uint64(0)
	for i, n := range h.counts {
		seen += n
		if seen > want || seen == h.total && n > 0 {
			return min(time.Duration(bucketTop(i)), h.max)
		}
	}
	return h.max
}

func (h *histogram) mean() time.Duration {
	if h.total == 0 {
		return 0
	}
	return h.sum / time.Duration(h.total)
}
