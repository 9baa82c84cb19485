package overlay

import (
	"fmt"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/evaluate"
)

func TestTheRowThatWasPutLastIsFound(t *testing.T) { // OV1
	o := New()
	for round := range 2 {
		for i := range 3 * minOverlaySlots {
			o.Put(fmt.Appendf(nil, "key-%d", i%500), evaluate.Row{Version: api.Version(1000*round + i + 1)})
		}
		for i := range 500 {
			want := api.Version(1000*round + i + 1)
			if i+500 < 3*minOverlaySlots {
				want += 500
			}
			if r := o.Find(fmt.Appendf(nil, "key-%d", i)); r == nil || r.Version != want {
				t.Fatalf("key-%d: %+v, want %d", i, r, want)
			}
		}
		if o.Find([]byte("none")) != nil {
			t.Fatal("a key that was never put")
		}
		if o.Reset(); o.Find([]byte("key-1")) != nil {
			t.Fatal("a row is left")
		}
	}
}
