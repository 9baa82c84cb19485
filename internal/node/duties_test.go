package node

import (
	"runtime"
	"sync"
	"testing"
)

// TestANodeThatStopsLeadsNothingWhateverTheMapSays, also a map that arrives at the same moment.
func TestANodeThatStopsLeadsNothingWhateverTheMapSays(t *testing.T) {
	for range 200 {
		last := false
		d := &duties{lead: func(nothing bool) { runtime.Gosched(); last = nothing }}
		var both sync.WaitGroup
		both.Go(func() { d.setDrained(false) })
		both.Go(d.leave)
		both.Wait()
		if !last {
			t.Fatal("it was told last that it may lead")
		}
		d.setDrained(false)
		if !last {
			t.Fatal("a later map lets it lead")
		}
	}
}
