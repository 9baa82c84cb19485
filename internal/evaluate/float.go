package evaluate

import (
	"bytes"
	"math/big"
	"strings"

	"github.com/lightning-db/lightning/api"
)

// Sums of decimal numbers are made as Redis makes them on x86: both numbers are rounded to the
// 64-bit mantissa of the x87's long double, so is the sum, and the result has at most 17 digits
// after the point. Package big gives the same bits on every machine (EV1).
const (
	floatPrecision = 64
	floatDigits    = 17

	// belowLastDigit: what is below 2^-58 is less than half of the last digit.
	belowLastDigit = -57

	// maxFloatText is what Redis reads at most.
	maxFloatText = 5*1024 - 1

	// The range of a long double. A number of at least half its lowest bit is not zero.
	maxFloatExponent = 16384  // below 2^16384
	minFloatExponent = -16445 // above 2^-16446

	// No number within the range has its first decimal digit outside of these places, so what is
	// beyond need not be computed: "1e1000000000" costs nothing.
	maxDecimalPlace = 4933
	minDecimalPlace = -4950

	// maxExponentText is where reading an exponent stops counting: far beyond any that could bring
	// maxFloatText digits back into the range.
	maxExponentText = 1 << 20
)

// addFloats is the sum of two numbers as text.
func addFloats(a, b []byte) ([]byte, *api.Error) {
	x, ok := parseFloat(a)
	y, alsoOK := parseFloat(b)
	switch {
	case !ok || !alsoOK:
		return nil, ErrNotFloat
	case x.IsInf() || y.IsInf():
		return nil, ErrNotFinite
	}
	sum := newFloat().Add(x, y)
	if sum.MantExp(nil) > maxFloatExponent {
		return nil, ErrNotFinite
	}
	return formatFloat(sum), nil
}

func newFloat() *big.Float { return new(big.Float).SetPrec(floatPrecision) }

// formatFloat writes as printf's "%.17Lf", without the zeros at the end.
func formatFloat(f *big.Float) []byte {
	if f.MantExp(nil) < belowLastDigit {
		return []byte("0") // the digits of so small a number take package big milliseconds
	}
	text := f.Append(nil, 'f', floatDigits)
	text = bytes.TrimRight(text, "0")
	text = bytes.TrimSuffix(text, []byte("."))
	if string(text) == "-0" {
		return []byte("0")
	}
	return text
}

// parseFloat reads a number as C's strtold does, all of the text or nothing: decimal or
// hexadecimal, with an exponent, or an infinity, but no space and no NaN. What is too large, or so
// small that it would become zero, is no number.
func parseFloat(text []byte) (*big.Float, bool) {
	if len(text) == 0 || len(text) > maxFloatText {
		return nil, false
	}
	negative := text[0] == '-'
	if negative || text[0] == '+' {
		text = text[1:]
	}
	lower := lowerASCII(text)
	var f *big.Float
	ok := true
	switch hex, isHex := strings.CutPrefix(lower, "0x"); {
	case lower == "inf" || lower == "infinity":
		f = newFloat().SetInf(false)
	case isHex:
		f, ok = parseHex(hex)
	default:
		f, ok = parseDecimal(lower)
	}
	if !ok || !f.IsInf() && f.Sign() != 0 && !inRange(f) {
		return nil, false
	}
	if negative {
		f.Neg(f)
	}
	return f, true
}

// lowerASCII changes the letters of numbers only: other alphabets have some whose small form is one
// of them.
func lowerASCII(text []byte) string {
	lower := make([]byte, len(text))
	for i, c := range text {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	return string(lower)
}

// powerBytes is about the size of the power of ten that reading a number takes on account of its
// exponent, which may be far larger than the text.
func powerBytes(text []byte) int {
	at := bytes.IndexAny(text, "eE")
	if at < 0 || len(text) > maxFloatText {
		return 0
	}
	n, _ := scanExponent(string(text[at+1:]))
	return min(max(n, -n), -minDecimalPlace+maxFloatText) / 2
}

func inRange(f *big.Float) bool {
	mantissa := new(big.Float)
	exponent := f.MantExp(mantissa)
	if exponent == minFloatExponent {
		return mantissa.Cmp(big.NewFloat(0.5)) > 0
	}
	return exponent > minFloatExponent && exponent <= maxFloatExponent
}

// parseDecimal reads digits with a point and an exponent of ten. Its result is the nearest number
// of 64 bits, halves to the even one: package big rounds a quotient of whole numbers once.
func parseDecimal(text string) (*big.Float, bool) {
	digits, exponent, ok := scanNumber(text, "0123456789", 'e')
	if !ok {
		return nil, false
	}
	if digits == "" {
		return newFloat(), true
	}
	if place := len(digits) + exponent; place > maxDecimalPlace || place < minDecimalPlace {
		return nil, false
	}
	n, _ := new(big.Int).SetString(digits, 10)
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(exponent, -exponent))), nil)
	if exponent >= 0 {
		return newFloat().SetInt(n.Mul(n, scale)), true
	}
	return newFloat().Quo(new(big.Float).SetInt(n), new(big.Float).SetInt(scale)), true
}

// parseHex reads what follows "0x": hexadecimal digits with a point and an exponent of two.
func parseHex(text string) (*big.Float, bool) {
	digits, places, ok := scanNumber(text, "0123456789abcdef", 'p')
	if !ok {
		return nil, false
	}
	if digits == "" {
		return newFloat(), true
	}
	n, _ := new(big.Int).SetString(digits, 16)
	return newFloat().SetMantExp(newFloat().SetInt(n), places), true
}

// scanNumber splits a number into its digits, without the point and zeros in front, and the
// exponent that this leaves: of ten, or, for hexadecimal digits, of two.
func scanNumber(text, alphabet string, mark byte) (digits string, exponent int, ok bool) {
	number, power, hasPower := strings.Cut(text, string(mark))
	whole, fraction, _ := strings.Cut(number, ".")
	digits = whole + fraction
	if digits == "" || strings.Trim(digits, alphabet) != "" {
		return "", 0, false
	}
	if hasPower {
		if exponent, ok = scanExponent(power); !ok {
			return "", 0, false
		}
	}
	exponent -= len(fraction) * bitsOf(alphabet)
	return strings.TrimLeft(digits, "0"), exponent, true
}

// bitsOf is by how much one digit after the point moves the exponent.
func bitsOf(alphabet string) int {
	if len(alphabet) == 16 {
		return 4
	}
	return 1
}

// scanExponent reads a signed number, at most maxExponentText whatever it says.
func scanExponent(text string) (int, bool) {
	digits := strings.TrimPrefix(text, "-")
	if digits == text {
		digits = strings.TrimPrefix(text, "+")
	}
	if digits == "" {
		return 0, false
	}
	n := 0
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int(c-'0'), maxExponentText)
	}
	if text[0] == '-' {
		n = -n
	}
	return n, true
}
