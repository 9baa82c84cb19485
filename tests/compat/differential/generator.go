package differential

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// generator makes random commands. Not safe for concurrent use.
type generator struct {
	*rand.Rand
	keys   []string   // of no common slot
	groups [][]string // each of one slot
	group  []string   // when not nil, the keys to draw from
	empty  bool       // draws the empty key too, of which there is only one
	alone  bool       // nobody else writes: all keys may be listed, counted and removed
	start  time.Time  // absolute times are relative to it

	templates []template
	weights   int
}

// newGenerator draws keys that begin with the name, or with a brace and the name.
func newGenerator(rng *rand.Rand, name string, knows func(command string) bool) *generator {
	g := &generator{Rand: rng, start: time.Now()}
	for _, end := range []string{"1", "2", "3", "4", "\x00\r\n\xff", "*[a]?\\", "{}x", "{open", strings.Repeat("long", 80)} {
		g.keys = append(g.keys, name+":"+end)
	}
	for _, group := range []string{"a", "b"} {
		var keys []string
		for _, end := range []string{"1", "2", "3", "4", "\xfe\x00", "}{"} {
			keys = append(keys, "{"+name+group+"}"+end)
		}
		g.groups = append(g.groups, keys)
	}
	for _, t := range templates {
		if knows(t.name) {
			g.templates = append(g.templates, t)
			g.weights += t.weight
		}
	}
	return g
}

// universe is every key that commands of this generator write.
func (g *generator) universe() []string {
	all := append([]string(nil), g.keys...)
	for _, group := range g.groups {
		all = append(all, group...)
	}
	return all
}

func pick[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func (g *generator) key() string {
	switch {
	case g.group != nil:
		return pick(g, g.group...)
	case g.chance(4) && g.empty:
		return ""
	case g.chance(50):
		return pick(g, g.keys...)
	}
	return pick(g, pick(g, g.groups...)...)
}

// together draws keys that live on one shard.
func (g *generator) together(count int) []string {
	from := g.group
	if from == nil {
		from = pick(g, g.groups...)
	}
	keys := make([]string, count)
	for i := range keys {
		keys[i] = pick(g, from...)
	}
	return keys
}

// several draws keys that may live anywhere.
func (g *generator) several() []string {
	keys := make([]string, 1+g.IntN(5))
	for i := range keys {
		if keys[i] = g.key(); keys[i] == "" {
			keys[i] = pick(g, g.universe()...)
		}
	}
	return keys
}

// command makes one command of the set, now and then a wrong one.
func (g *generator) command() []string {
	n := g.IntN(g.weights)
	for _, t := range g.templates {
		if n -= t.weight; n < 0 {
			return g.spell(g.spoil(t, t.args(g)), t.name)
		}
	}
	panic("the weights do not add up")
}

// spoil takes the last argument away, adds one or changes one. It takes away no other, because the
// one behind it might become a key that other sessions have too.
func (g *generator) spoil(t template, args []string) []string {
	if !g.chance(6) {
		return args
	}
	switch at := g.IntN(len(args) + 1); {
	case len(args) > 0 && g.chance(40):
		return args[:len(args)-1]
	case at < len(args) && at > 0 && g.chance(60) && !t.keysOnly:
		args[at] = pick(g, "BOGUS", "nx", "0", "-1")
		return args
	}
	if t.keysOnly {
		return args
	}
	return append(args, pick(g, "BOGUS", "XX", "nx", "100"))
}

func (g *generator) spell(args []string, name string) []string {
	words := strings.Fields(name)
	for i, w := range words {
		words[i] = g.letters(w)
	}
	return append(words, args...)
}

// letters is a word as people and libraries write it.
func (g *generator) letters(word string) string {
	switch n := g.IntN(10); {
	case n < 6:
		return strings.ToUpper(word)
	case n < 9:
		return strings.ToLower(word)
	}
	return strings.ToUpper(word[:1]) + strings.ToLower(word[1:])
}

func (g *generator) value() string {
	switch n := g.IntN(20); {
	case n < 8:
		return g.integer()
	case n < 10:
		return g.float()
	case n < 12:
		return ""
	case n < 15:
		return pick(g, "hello", "Hello, world", "foobar", "ohmytext", "mynewtext", " 12", "12 ", "+5", "007", "0x10", "1e3")
	case n < 17:
		return pick(g, "\x00", "\xff\xf0\x00", "\x00\r\n$5\r\n", "\x7f\x80", "é")
	case n < 19:
		return g.bytes(1 + g.IntN(60))
	}
	return strings.Repeat(g.bytes(7), 1+g.IntN(600))
}

func (g *generator) bytes(count int) string {
	b := make([]byte, count)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return string(b)
}

// integer is a number, of those at which arithmetic goes wrong, or not quite one.
func (g *generator) integer() string {
	switch n := g.IntN(10); {
	case n < 6:
		return strconv.Itoa(g.IntN(2000) - 1000)
	case n < 9:
		return pick(g, "0", "1", "-1", "9223372036854775807", "-9223372036854775808", "9223372036854775806",
			"4294967295", "4294967296", "2147483647", "2147483648", "-2147483649", "1000000000000")
	}
	return pick(g, "9223372036854775808", "-9223372036854775809", "18446744073709551615", "99999999999999999999",
		"", "-", "+1", "01", "-0", "1.0", " 1", "1 ", "1e2", "abc", "0x1", "1\x00")
}

func (g *generator) float() string {
	switch n := g.IntN(10); {
	case n < 4:
		return strconv.FormatFloat(float64(g.IntN(20000)-10000)/8, 'f', -1, 64)
	case n < 6:
		return strconv.FormatFloat(float64(g.IntN(20000)-10000)/100, 'f', -1, 64)
	case n < 9:
		return pick(g, "0", "-0", "0.0", "1.5", "-2.5", "3.0e3", "5e-3", "1e2", "0.1", "0.25", "1000000", "10.50", ".5", "5.", "123456789.125")
	}
	return pick(g, "nan", "inf", "-inf", "+1.5", "1e5000", "abc", "", " 1.5", "1.5 ", "0x1p3", "1,5", "1e", "--1", "infinity", "1_000")
}

// offset is a place in a value, small but for what must be refused.
func (g *generator) offset() string {
	switch n := g.IntN(20); {
	case n < 15:
		return strconv.Itoa(g.IntN(90))
	case n < 18:
		return strconv.Itoa(g.IntN(2000))
	}
	return pick(g, "-1", "-5", "4294967296", "9223372036854775807", "-9223372036854775808", "abc", "", "1.5", "99999999999999999999")
}

// index is a place in a value, from its start or its end.
func (g *generator) index() string {
	switch n := g.IntN(20); {
	case n < 16:
		return strconv.Itoa(g.IntN(60) - 30)
	case n < 19:
		return pick(g, "0", "-1", "1000", "-1000", "9223372036854775807", "-9223372036854775808")
	}
	return pick(g, "abc", "", "1.5", "9223372036854775808", " 1")
}

// left is a time to live in seconds, or in milliseconds when unit is 1000: far away, over, or no
// time at all.
func (g *generator) left(unit int64) string {
	switch n := g.IntN(20); {
	case n < 14:
		return strconv.FormatInt((1000+g.Int64N(1_000_000))*unit+g.Int64N(unit), 10)
	case n < 17:
		return pick(g, "0", "-1", "-1000000000", "-9223372036854775808")
	case n < 18:
		return pick(g, "9223372036854775807", "9223372036854775806", "9223372036854775", "9223372036854776", "9223370000000000000", "9000000000000")
	}
	return pick(g, "abc", "", "1.5", "9223372036854775808", "-9223372036854775809", " 100", "+100")
}

// at is a time as left is, but by the calendar.
func (g *generator) at(unit int64) string {
	switch n := g.IntN(20); {
	case n < 13:
		// Few times, so that GT and LT meet equal ones.
		return strconv.FormatInt((g.start.Unix()+1000*int64(1+g.IntN(8)))*unit, 10)
	case n < 17:
		return pick(g, "0", "1", "-1", "1000000000", strconv.FormatInt((g.start.Unix()-5)*unit, 10))
	case n < 18:
		return pick(g, "9223372036854775807", "9223372036854775", "9223372036854776", "9000000000000")
	}
	return pick(g, "abc", "", "1.5", "9223372036854775808", " 100")
}
