package cachesim

import "testing"

// The sizes are small, and so are the gains. docs/decisions/0027 has those of larger ones.
func TestSharedRoomSavesWorkAndNeverCostsMuch(t *testing.T) {
	const keys, reads, bytes = 60_000, 40_000, 60_000 * 128 / 3
	gains := map[string]float64{"short scans": 0.98, "scans of the same range": 0.7, "uniform": 1.06}
	for _, l := range SharedLoads(1, keys, reads) {
		most, ok := gains[l.Name]
		if !ok {
			continue
		}
		fixed, shared := RunShared(l, bytes, 5.0/8, false), RunShared(l, bytes, 5.0/8, true)
		ratio := float64(shared.Cost()) / float64(fixed.Cost())
		t.Logf("%s: %d of %d, rows have %.2f", l.Name, shared.Cost(), fixed.Cost(), shared.RowPart)
		if ratio > most {
			t.Errorf("%s: the work is %.2f of what it is with fixed parts, want at most %.2f", l.Name, ratio, most)
		}
	}
}

func TestSharedRoomIsTheSameForTheSameReads(t *testing.T) {
	const keys, reads, bytes = 40_000, 20_000, 40_000 * 128 / 3
	for _, l := range SharedLoads(2, keys, reads)[5:7] {
		if a, b := RunShared(l, bytes, 5.0/8, true), RunShared(l, bytes, 5.0/8, true); a != b {
			t.Errorf("%s: %+v and %+v", l.Name, a, b)
		}
	}
}
