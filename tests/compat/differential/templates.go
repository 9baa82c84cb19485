package differential

// template makes the arguments of one command.
type template struct {
	name   string
	weight int
	args   func(g *generator) []string
	// keysOnly keeps other words from becoming keys: those of the command must share a shard, or
	// may have to.
	keysOnly bool
}

func oneKey(g *generator) []string   { return []string{g.key()} }
func manyKeys(g *generator) []string { return g.several() }

func keyAnd(more ...func(*generator) string) func(*generator) []string {
	return func(g *generator) []string {
		args := []string{g.key()}
		for _, m := range more {
			args = append(args, m(g))
		}
		return args
	}
}

// ending adds up to most words of those that options makes.
func ending(most int, options func(*generator) []string, start func(*generator) []string) func(*generator) []string {
	return func(g *generator) []string {
		args := start(g)
		for range g.IntN(most + 1) {
			args = append(args, options(g)...)
		}
		return args
	}
}

func words(of ...string) func(*generator) []string {
	return func(g *generator) []string { return []string{g.letters(pick(g, of...))} }
}

var (
	value   = (*generator).value
	integer = (*generator).integer
	offset  = (*generator).offset
	index   = (*generator).index
	bit     = func(g *generator) string { return pick(g, "0", "1", "0", "1", "0", "1", "2", "-1", "abc", "") }
)

func left(unit int64) func(*generator) string {
	return func(g *generator) string { return g.left(unit) }
}
func at(unit int64) func(*generator) string { return func(g *generator) string { return g.at(unit) } }

func expiryOption(g *generator) []string {
	switch g.IntN(5) {
	case 0:
		return []string{g.letters("EX"), g.left(1)}
	case 1:
		return []string{g.letters("PX"), g.left(1000)}
	case 2:
		return []string{g.letters("EXAT"), g.at(1)}
	case 3:
		return []string{g.letters("PXAT"), g.at(1000)}
	}
	return []string{g.letters(pick(g, "KEEPTTL", "PERSIST", "EX", "BOGUS"))}
}

func setOption(g *generator) []string {
	if g.chance(40) {
		return expiryOption(g)
	}
	return []string{g.letters(pick(g, "NX", "XX", "GET", "GET", "KEEPTTL"))}
}

func pairs(g *generator) []string {
	var args []string
	for _, key := range g.together(1 + g.IntN(4)) {
		args = append(args, key, g.value())
	}
	return args
}

// expire draws relative times for the plain forms and, for those that compare two times, only
// from so many that none meets its equal: two servers read their clocks at two times.
func expire(when func(*generator) string) func(*generator) []string {
	return ending(2, words("NX", "XX", "GT", "LT"), keyAnd(when))
}

func lcs(g *generator) []string {
	args := g.together(2)
	for range g.IntN(4) {
		switch g.IntN(5) {
		case 0:
			args = append(args, g.letters("LEN"))
		case 1:
			args = append(args, g.letters("MINMATCHLEN"), pick(g, "0", "1", "3", "-1", "abc"))
		case 2:
			args = append(args, g.letters("WITHMATCHLEN"))
		default:
			args = append(args, g.letters("IDX"))
		}
	}
	return args
}

func bitPositions(g *generator) []string {
	args := []string{g.key()}
	if g.chance(70) {
		args = append(args, g.index(), g.index())
		if g.chance(50) {
			args = append(args, g.letters(pick(g, "BYTE", "BIT", "BIT", "BOGUS")))
		}
	}
	return args
}

func bitpos(g *generator) []string {
	args := []string{g.key(), pick(g, "0", "1", "0", "1", "2", "abc")}
	for range g.IntN(3) {
		args = append(args, g.index())
	}
	if len(args) == 4 && g.chance(50) {
		args = append(args, g.letters(pick(g, "BYTE", "BIT")))
	}
	return args
}

func getKeys(g *generator) []string {
	return pick(g,
		[]string{"GET", "k"}, []string{"mset", "a", "1", "b", "2"}, []string{"MGET", "x", "y", "z"}, []string{"SET", "k", "v", "EX", "1"},
		[]string{"PING"}, []string{"nosuch", "k"}, []string{"GET"}, []string{"COPY", "a", "b"}, []string{"EXISTS", "a", "a"},
		[]string{"LCS", "a", "b", "IDX"}, []string{"EXPIRE", "a", "1"}, []string{"OBJECT", "ENCODING", "k"}, []string{"RENAME", "a", "b"})
}

// templates are the commands, with weights that make reads and writes meet.
var templates = []template{
	{name: "GET", weight: 40, args: oneKey},
	{name: "SET", weight: 70, args: ending(3, setOption, keyAnd(value))},
	{name: "SETNX", weight: 8, args: keyAnd(value)},
	{name: "SETEX", weight: 12, args: keyAnd(left(1), value)},
	{name: "PSETEX", weight: 12, args: keyAnd(left(1000), value)},
	{name: "GETSET", weight: 10, args: keyAnd(value)},
	{name: "GETDEL", weight: 8, args: oneKey},
	{name: "GETEX", weight: 20, args: ending(2, expiryOption, oneKey)},
	{name: "MGET", weight: 12, args: manyKeys, keysOnly: true},
	{name: "MSET", weight: 14, args: pairs, keysOnly: true},
	{name: "MSETNX", weight: 14, args: pairs, keysOnly: true},
	{name: "INCR", weight: 14, args: oneKey},
	{name: "DECR", weight: 10, args: oneKey},
	{name: "INCRBY", weight: 16, args: keyAnd(integer)},
	{name: "DECRBY", weight: 16, args: keyAnd(integer)},
	{name: "INCRBYFLOAT", weight: 24, args: keyAnd((*generator).float)},
	{name: "APPEND", weight: 16, args: keyAnd(value)},
	{name: "STRLEN", weight: 10, args: oneKey},
	{name: "GETRANGE", weight: 16, args: keyAnd(index, index)},
	{name: "SUBSTR", weight: 4, args: keyAnd(index, index)},
	{name: "SETRANGE", weight: 18, args: keyAnd(offset, value)},
	{name: "LCS", weight: 10, args: lcs, keysOnly: true},
	{name: "SETBIT", weight: 18, args: keyAnd(offset, bit)},
	{name: "GETBIT", weight: 12, args: keyAnd(offset)},
	{name: "BITCOUNT", weight: 16, args: bitPositions},
	{name: "BITPOS", weight: 16, args: bitpos},

	{name: "DEL", weight: 16, args: manyKeys, keysOnly: true},
	{name: "UNLINK", weight: 8, args: manyKeys, keysOnly: true},
	{name: "EXISTS", weight: 12, args: manyKeys, keysOnly: true},
	{name: "TYPE", weight: 6, args: oneKey},
	{name: "TOUCH", weight: 6, args: manyKeys, keysOnly: true},
	{name: "COPY", weight: 16, keysOnly: true, args: ending(2, func(g *generator) []string {
		return pick(g, []string{"REPLACE"}, []string{"replace"}, []string{"DB", "0"}, []string{"DB", "1"}, []string{"DB", "x"}, []string{"DB"})
	}, func(g *generator) []string { return g.together(2) })},
	{name: "RENAME", weight: 12, keysOnly: true, args: func(g *generator) []string { return g.together(2) }},
	{name: "RENAMENX", weight: 10, keysOnly: true, args: func(g *generator) []string { return g.together(2) }},
	{name: "EXPIRE", weight: 16, args: expire(left(1))},
	{name: "PEXPIRE", weight: 12, args: expire(left(1000))},
	{name: "EXPIREAT", weight: 16, args: expire(at(1))},
	{name: "PEXPIREAT", weight: 12, args: expire(at(1000))},
	{name: "PERSIST", weight: 8, args: oneKey},
	{name: "TTL", weight: 12, args: oneKey},
	{name: "PTTL", weight: 10, args: oneKey},
	{name: "EXPIRETIME", weight: 8, args: oneKey},
	{name: "PEXPIRETIME", weight: 8, args: oneKey},
	{name: "OBJECT", weight: 6, keysOnly: true, args: func(g *generator) []string {
		return []string{g.letters(pick(g, "ENCODING", "ENCODING", "ENCODING", "REFCOUNT", "IDLETIME", "FREQ", "BOGUS")), g.key()}
	}},

	{name: "PING", weight: 3, args: ending(1, func(g *generator) []string { return []string{g.value()} }, none)},
	{name: "ECHO", weight: 3, args: func(g *generator) []string { return []string{g.value()} }},
	{name: "SELECT", weight: 4, args: func(g *generator) []string {
		return []string{pick(g, "0", "0", "1", "-1", "abc", "", "99999999999999999999")}
	}},
	{name: "COMMAND GETKEYS", weight: 4, args: getKeys},
	{name: "SCAN", weight: 4, args: func(g *generator) []string {
		return pick(g, []string{"abc"}, []string{"-1"}, []string{"0", "COUNT", "0"}, []string{"0", "COUNT", "x"}, []string{"0", "BOGUS"},
			[]string{"0", "MATCH"}, []string{"0", "COUNT"}, []string{"0", "COUNT", "-5"}, []string{"18446744073709551616"})
	}},
	{name: "CLIENT", weight: 4, args: func(g *generator) []string {
		return pick(g, []string{"GETNAME"}, []string{"SETNAME", "name"}, []string{"SETNAME", "two words"}, []string{"SETNAME", ""},
			[]string{"BOGUS"}, []string{"NO-EVICT", "on"}, []string{"NO-EVICT", "maybe"})
	}},
	{name: "NOSUCHCOMMAND", weight: 3, args: func(g *generator) []string { return append(g.several(), g.value(), g.value()) }},
}

func none(*generator) []string { return nil }
