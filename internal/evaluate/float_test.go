package evaluate

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
)

// What Redis 7.0.15 answers on amd64.
func TestSumsOfDecimalNumbersAreThoseOfRedis(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"0.1", "0.2", "0.3"},
		{"10.50", "0.1", "10.6"},
		{"3.0e3", "200", "3200"},
		{"5.0e3", "2.0e2", "5200"},
		{"5.", ".5", "5.5"},
		{"+1", "-1", "0"},
		{"-0", "0", "0"},
		{"-1e-30", "0", "0"},
		{"1", "0.000000000000000001", "1"},
		{"0.000000000000000005", "0", "0"},
		{"0.000000000000000004", "0", "0"},
		{"9223372036854775807", "1", "9223372036854775808"},
		{"18446744073709551615", "0", "18446744073709551615"},
		{"18446744073709551617", "0", "18446744073709551616"},
		{"0x10", "0X1.8p1", "19"},
		{"-0x1P-3", "0", "-0.125"},
		{"0e99999999999999999999", "1", "1"},
		{"1e-4950", "0", "0"},
		{"100", "-99.99999999999999999", "0.00000000000000001"},
		{strings.Repeat("0", 5119), "7", "7"},
	} {
		got, refusal := addFloats([]byte(c.a), []byte(c.b))
		if refusal != nil || string(got) != c.want {
			t.Errorf("%s + %s is %s, %v, want %s", c.a, c.b, got, refusal, c.want)
		}
	}
}

func TestWhatIsNoNumberIsRefused(t *testing.T) {
	for _, text := range []string{
		"", ".", "abc", " 1", "1 ", "1e", "1e+", "e5", "1.2.3", "--1", "1f", "1_0", "0b1", "0x", "0x1p", "infinit", "nan", "-nan",
		"1e4933", "1.2e4932", "-1.2e4932", "1e-4952", "1.8e-4951", "1e1000000000", "1e-1000000000", "0x1p16384", "0x1p-16446",
		"\x00", "1\x00", "\u0130nf", "-infin\u0130ty", strings.Repeat("0", 5120), "0." + strings.Repeat("0", 5000) + "1",
	} {
		if _, refusal := addFloats([]byte(text), []byte("1")); refusal != ErrNotFloat {
			t.Errorf("%.30q + 1: %v", text, refusal)
		}
		if _, refusal := addFloats([]byte("1"), []byte(text)); refusal != ErrNotFloat {
			t.Errorf("1 + %.30q: %v", text, refusal)
		}
	}
	for _, c := range [][2]string{{"inf", "1"}, {"1", "-Infinity"}, {"+inf", "-inf"}, {"1.18e4932", "1.18e4932"}, {"-1e4932", "-1e4932"}} {
		if _, refusal := addFloats([]byte(c[0]), []byte(c[1])); refusal != ErrNotFinite || !errors.Is(refusal, api.ErrOverflow) {
			t.Errorf("%s + %s: %v", c[0], c[1], refusal)
		}
	}
}

// EV2. A power of ten is far larger than the text that asks for it, and takes time in proportion.
func TestFarExponentsAreBounded(t *testing.T) {
	for _, text := range []string{"1e-4949", "1E4930", strings.Repeat("1", 80) + "e-4949"} {
		for _, held := range []string{"", "word"} {
			b := api.Batch{Independent: true}
			for i := range 10_000 {
				b.Ops = append(b.Ops, value(api.OpIncrementFloat, fmt.Sprint(i), text))
			}
			e := Evaluator{Version: 1, Lookup: func([]byte) (Row, error) { return Row{Value: []byte(held), Live: held != ""}, nil }}
			if _, refusal, err := e.Run(&b); refusal != ErrCarriesTooMuch || err != nil {
				t.Errorf("%.10s added to %q: %v, %v", text, held, refusal, err)
			}
		}
	}
}

// Rounding happens once: what is read is the fraction that the text says, to the nearest 64 bits.
func TestEveryNumberIsReadToTheNearest(t *testing.T) {
	rng := testkit.Rand(t)
	for range 5000 {
		x := math.Float64frombits(rng.Uint64())
		if math.IsNaN(x) || math.IsInf(x, 0) {
			continue
		}
		for _, text := range []string{
			strconv.FormatFloat(x, 'f', -1, 64), strconv.FormatFloat(x, 'e', 10+rng.IntN(30), 64), strconv.FormatFloat(x, 'x', -1, 64),
		} {
			exact, ok := new(big.Rat).SetString(text)
			if !ok {
				t.Fatalf("package big does not read %s", text)
			}
			f, ok := parseFloat([]byte(text))
			if !ok || f.Cmp(newFloat().SetRat(exact)) != 0 {
				t.Fatalf("%s was read as %v, %t", text, f, ok)
			}
		}
	}
}

func FuzzAddFloats(f *testing.F) {
	for _, s := range []string{"0.1", "1e4932", "-0x1.8p-3", "inf", "1e-4950", "1e1000000000", "007."} {
		f.Add([]byte(s), []byte("1"))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		sum, refusal := addFloats(a, b)
		other, otherRefusal := addFloats(b, a)
		if string(sum) != string(other) || refusal != otherRefusal {
			t.Fatalf("%q + %q is %q, %v, the other way round %q, %v", a, b, sum, refusal, other, otherRefusal)
		}
		if refusal != nil {
			return
		}
		if _, ok := parseFloat(sum); !ok || len(sum) > maxFloatText {
			t.Fatalf("%q + %q is %q, which is not read again", a, b, sum)
		}
		if _, _, err := big.ParseFloat(string(sum), 10, floatPrecision, big.ToNearestEven); err != nil {
			t.Fatalf("%q + %q is %q: %v", a, b, sum, err)
		}
	})
}

// The cost of a number is bounded by its text, whatever exponent it names.
func BenchmarkAddFloats(b *testing.B) {
	for name, pair := range map[string][2]string{
		"small":     {"10.5", "0.1"},
		"large":     {"1e4932", "1e4932"},
		"tiny":      {"1e-4950", "1e-4950"},
		"longest":   {strings.Repeat("9", 4932), "1"},
		"fractions": {"0." + strings.Repeat("9", 5000), "1"},
		"far":       {"1e1000000000", "1"},
	} {
		b.Run("numbers="+name, func(b *testing.B) {
			for b.Loop() {
				_, _ = addFloats([]byte(pair[0]), []byte(pair[1]))
			}
		})
	}
}
