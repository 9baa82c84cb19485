package table

import (
	"bytes"
	"testing"
	"testing/synctest"
)

// TestZstdIsOfNoBubble uses it in two bubbles and outside, as a test of a store does.
func TestZstdIsOfNoBubble(t *testing.T) {
	raw := bytes.Repeat([]byte("some text "), 100)
	use := func(t *testing.T) {
		packed := appendZstd(nil, raw)
		if got := make([]byte, len(raw)); !unpack(got, packed, typeZstd) || !bytes.Equal(got, raw) {
			t.Error("what was compressed is something else")
		}
	}
	synctest.Test(t, use)
	synctest.Test(t, use)
	use(t)
}
