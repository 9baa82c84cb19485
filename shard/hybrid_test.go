package shard

import (
	"testing"
	"time"

	"github.com/lightning-db/lightning/internal/clock"
)

func TestAStepOfTheWallClockIsBelievedOnlyAfterClocksWereCompared(t *testing.T) {
	began := time.UnixMilli(1_700_000_000_000)
	wall, stopwatch := clock.NewManual(began), clock.NewManual(time.Unix(0, 0))
	c := &steadyClock{wall: wall, stopwatch: stopwatch}
	pass := func(d time.Duration) {
		wall.Advance(d)
		stopwatch.Advance(d)
	}
	expect := func(what string, since time.Duration) {
		t.Helper()
		if got := c.Now().Sub(began); got != since {
			t.Fatalf("%s: it is %v after the beginning, want %v", what, got, since)
		}
	}
	expect("at first", 0)
	pass(time.Hour)
	expect("an hour that both clocks saw", time.Hour)
	wall.Advance(maxClockStep)
	expect("a small step", time.Hour+maxClockStep)

	wall.Advance(24 * time.Hour)
	expect("a day at once", time.Hour+maxClockStep)
	pass(doubtFor - time.Second)
	expect("time goes on meanwhile", time.Hour+maxClockStep+doubtFor-time.Second)
	wall.Advance(-24 * time.Hour)
	expect("the clock was set right again", time.Hour+maxClockStep+doubtFor-time.Second)

	wall.Advance(24 * time.Hour)
	before := c.Now()
	pass(doubtFor)
	if after := c.Now(); after.Sub(before) != 24*time.Hour+doubtFor {
		t.Fatalf("a step that lasts is not believed: %v passed", after.Sub(before))
	}
	wall.Advance(24 * time.Hour)
	before = c.Now()
	c.trust()
	if after := c.Now(); after.Sub(before) != 24*time.Hour {
		t.Fatalf("a clock that was compared is not believed: %v passed", after.Sub(before))
	}
	wall.Advance(-48 * time.Hour)
	before = c.Now()
	if want := wall.Now(); !before.Equal(want) {
		t.Fatalf("a step back: it is %v, want %v", before, want)
	}
}
