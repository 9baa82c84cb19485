package plan

import (
	"math/rand/v2"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
)

// slowLCS is the length of the longest common subsequence by the whole textbook table.
func slowLCS(a, b string) int {
	table := make([][]int, len(a)+1)
	table[0] = make([]int, len(b)+1)
	for i := range len(a) {
		table[i+1] = make([]int, len(b)+1)
		for j := range len(b) {
			if a[i] == b[j] {
				table[i+1][j+1] = table[i][j] + 1
			} else {
				table[i+1][j+1] = max(table[i][j+1], table[i+1][j])
			}
		}
	}
	return table[len(a)][len(b)]
}

func randomText(r *rand.Rand) string {
	text := make([]byte, r.IntN(40))
	for i := range text {
		text[i] = "abc"[r.IntN(3)]
	}
	return string(text)
}

func TestTheLongestCommonSubsequenceIsOneAndTheLongest(t *testing.T) {
	r := testkit.Rand(t)
	for range 2000 {
		a, b := randomText(r), randomText(r)
		runs := commonRuns([]byte(a), []byte(b))
		endA, endB := len(a), len(b)
		for _, run := range runs {
			if run.a+run.length > endA || run.b+run.length > endB || a[run.a:run.a+run.length] != b[run.b:run.b+run.length] {
				t.Fatalf("%q, %q: %v is no common run before the one behind it", a, b, run)
			}
			endA, endB = run.a, run.b
		}
		if got, want := runsLength(runs), slowLCS(a, b); got != int64(want) {
			t.Fatalf("%q, %q: length %d, want %d", a, b, got, want)
		}
	}
}

func BenchmarkLCS(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	values := [2][]byte{make([]byte, 4096), make([]byte, 4096)}
	for _, value := range values {
		for i := range value {
			value[i] = "acgt"[r.IntN(4)]
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		commonRuns(values[0], values[1])
	}
}
