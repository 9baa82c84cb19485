package mux

import (
	"math"
	"testing"
	"time"
)

func TestAClockIsReadInTheMiddleOfTheRoundTrip(t *testing.T) {
	for _, c := range []struct {
		name                 string
		sent, received, peer uint64
		want                 int64
		ok                   bool
	}{
		{"equal", 1000, 1010, 1005, 0, true},
		{"ahead", 1000, 1010, 4605, 3600, true},
		{"behind", 5000, 5100, 1050, -4000, true},
		{"set back meanwhile", 5000, 4999, 5000, 0, false},
		{"set ahead meanwhile", 5000, 3_605_000, 5000, 0, false},
		{"beyond any time", 1, 1, math.MaxUint64, -2, true},
	} {
		if got, ok := clockOffset(c.sent, c.received, c.peer, 500*time.Millisecond); got != c.want || ok != c.ok {
			t.Errorf("%s: %d %v, want %d %v", c.name, got, ok, c.want, c.ok)
		}
	}
}
