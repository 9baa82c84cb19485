package main

import (
	"math"
	"testing"
	"time"
)

func TestKeysKeepTheirNumbersAndOrder(t *testing.T) {
	last := ""
	for _, number := range []int{0, 1, 9, 10, 99, 100, 123456, 999_999_999_999} {
		key := keyOf(number)
		if keyNumber(key) != number || string(key) <= last {
			t.Errorf("number %d has key %s after %s", number, key, last)
		}
		last = string(key)
	}
}

func TestZipfDrawsAsOftenAsItShould(t *testing.T) {
	const n, draws = 1000, 200_000
	z, random, counts := newZipf(n), randomOf(0, 7), make([]int, n)
	for range draws {
		counts[z.draw(random)]++
	}
	for _, rank := range []int{0, 1, 9} {
		want := draws * math.Pow(float64(rank+1), -0.99) / z.sums[n-1]
		// Five standard deviations; the seed is fixed.
		if math.Abs(float64(counts[rank])-want) > 5*math.Sqrt(want) {
			t.Errorf("rank %d was drawn %d times, want about %.0f", rank, counts[rank], want)
		}
	}
}

func TestHistogramTellsWithinThreePerCent(t *testing.T) {
	h := &histogram{}
	for i := range 100_000 {
		h.add(time.Duration(i) * time.Microsecond)
	}
	for share, want := range map[float64]time.Duration{0.5: 50 * time.Millisecond, 0.99: 99 * time.Millisecond} {
		if got := h.quantile(share, 0); got > want || float64(got) < 0.96*float64(want) {
			t.Errorf("quantile %v is %v, want %v", share, got, want)
		}
	}
}

func TestVerifyFindsStaleLostAndInventedRows(t *testing.T) {
	const keys = 1000
	for name, change := range map[string]func(stamps []uint64) []uint64{
		"nothing":  func(s []uint64) []uint64 { return s },
		"stale":    func(s []uint64) []uint64 { s[500] = stampOf(present(500), 9); return s },
		"lost":     func(s []uint64) []uint64 { return append(s, stampOf(present(keys), 0)) },
		"invented": func(s []uint64) []uint64 { s[500] = 0; return s },
	} {
		t.Run(name, func(t *testing.T) {
			st, err := bboltEngine.open(t.TempDir(), config{})
			if err != nil {
				t.Fatal(err)
			}
			if err := load(st, keys, mainValue, true); err != nil {
				t.Fatal(err)
			}
			stamps := make([]uint64, keys)
			loadedStamps(stamps)
			if err := verify(st, change(stamps), mainValue); (err != nil) != (name != "nothing") {
				t.Errorf("verify says %v", err)
			}
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
