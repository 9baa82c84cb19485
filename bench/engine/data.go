package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"syscall"
)

const (
	keyBytes    = 16
	recordBytes = keyBytes + 8
)

// putKey writes the key of a number: "user" and twelve digits.
func putKey(dst []byte, number int) {
	copy(dst, "user")
	for at := keyBytes - 1; at >= 4; at-- {
		dst[at] = '0' + byte(number%10)
		number /= 10
	}
}

func keyNumber(key []byte) (number int) {
	for _, digit := range key[4:] {
		number = 10*number + int(digit-'0')
	}
	return number
}

// present is the number of the i-th key that exists; absent lies right behind it.
func present(i int) int { return 2 * i }
func absent(i int) int  { return 2*i + 1 }

// stampOf is what the value of a key begins with when it was written as the given write of its worker; the
// load is write 0. It is never zero.
func stampOf(number int, write uint64) uint64 {
	z := uint64(number)*0x9e3779b97f4a7c15 + write*0xd1342543de82ef95 + 1
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31 | 1
}

// poolBytes of random bytes are what values are cut from. Two values of one block rarely share any of them.
const poolBytes = 1 << 20

var pool = func() []byte {
	random := rand.New(rand.NewPCG(1, 2))
	p := make([]byte, 0, poolBytes+(64<<10))
	for len(p) < cap(p) {
		p = binary.LittleEndian.AppendUint64(p, random.Uint64())
	}
	return p
}()

// newValue makes room for a value whose second half is one repeated byte.
func newValue(size int) []byte { return bytes.Repeat([]byte{'v'}, size) }

// fillValue makes the first half of a value: the stamp, then random bytes that follow from it.
func fillValue(value []byte, stamp uint64) {
	binary.LittleEndian.PutUint64(value, stamp)
	copy(value[8:len(value)/2], pool[stamp%poolBytes:])
}

// stream is a sequence of keys with stamps, which lies outside the Go heap.
type stream struct {
	records []byte
}

// newStream makes a stream of so many records; draw gives each one's key and stamp.
func newStream(count int, draw func(n int) (number int, stamp uint64)) (stream, error) {
	records, err := syscall.Mmap(-1, 0, max(count, 1)*recordBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return stream{}, fmt.Errorf("memory for %d keys: %w", count, err)
	}
	for n := range count {
		number, stamp := draw(n)
		putKey(records[n*recordBytes:], number)
		binary.LittleEndian.PutUint64(records[n*recordBytes+keyBytes:], stamp)
	}
	return stream{records[:count*recordBytes]}, nil
}

func (s stream) key(n int) []byte {
	return s.records[n*recordBytes : n*recordBytes+keyBytes : n*recordBytes+keyBytes]
}

func (s stream) stamp(n int) uint64 {
	return binary.LittleEndian.Uint64(s.records[n*recordBytes+keyBytes:])
}

func (s stream) free() {
	if cap(s.records) > 0 {
		_ = syscall.Munmap(s.records[:cap(s.records)])
	}
}

func randomOf(worker int, purpose uint64) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(worker)+1, purpose))
}

// zipf draws ranks below n with probabilities as of 1/(rank+1)^0.99, exactly. The one in math/rand has no
// exponents below 1.
type zipf struct {
	sums []float64
}

func newZipf(n int) *zipf {
	z := &zipf{sums: make([]float64, n)}
	total := 0.0
	for i := range z.sums {
		total += math.Pow(float64(i+1), -0.99)
		z.sums[i] = total
	}
	return z
}

func (z *zipf) draw(random *rand.Rand) int {
	return min(sort.SearchFloat64s(z.sums, random.Float64()*z.sums[len(z.sums)-1]), len(z.sums)-1)
}

// shuffled are the numbers below n in an order that is always the same.
func shuffled(n int) []int { return rand.New(rand.NewPCG(3, 4)).Perm(n) }
