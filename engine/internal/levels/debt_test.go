package levels

import "testing"

func TestDebtIsWhatCompactionsHaveToWrite(t *testing.T) {
	targets := Targets{CompactCount: 2, LevelBytes: 1 << 20, TableBytes: 256 << 10}
	for _, c := range []struct {
		name   string
		tables []string
		want   uint64 // KiB
	}{
		{"an empty store", nil, 0},
		{"level 0 is not due", []string{"0:a-z/500", "1:a-z/500"}, 0},
		{"level 0 with what is below", []string{"0:a-z/100", "0:a-z/100", "1:a-z/500"}, 700},
		{"level 0 makes level 1 too large", []string{"0:a-z/300", "0:a-z/300", "1:a-z/724"}, 1324 + 300},
		{"what is over goes down, with its share below", []string{"1:a-z/2048", "2:a-z/4000"}, 1024 + 2000},
		{"the last level has no target", []string{"6:a-z/100000000"}, 0},
	} {
		if got := build(t, c.tables...).Debt(targets) >> 10; got != c.want {
			t.Errorf("%s: %d KiB, want %d", c.name, got, c.want)
		}
	}
}
