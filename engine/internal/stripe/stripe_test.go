package stripe

import (
	"sync"
	"testing"
)

// SP1.
func TestEveryGoroutineHasAStripe(t *testing.T) {
	var lines Lines
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			for range 100 {
				lines.Add(1)
			}
		})
	}
	all.Wait()
	if got := lines.Sum(); got != 100*100 {
		t.Fatalf("%d counted", got)
	}
}

func BenchmarkCount(b *testing.B) {
	for _, how := range []string{"one-line", "stripes"} {
		b.Run("how="+how, func(b *testing.B) {
			var lines Lines
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if how == "one-line" {
						lines[0].Add(1)
					} else {
						lines.Add(1)
					}
				}
			})
		})
	}
}
