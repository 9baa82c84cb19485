package differential

import (
	"slices"
	"strconv"
	"time"
)

// step is one command of a round, or a wait.
type step struct {
	args  []string
	other bool          // sent by the second connection
	wait  time.Duration // when not zero, only time passes
	scan  bool          // args are those of a SCAN without its cursor; all pages are one reply
}

func steps(commands ...[]string) []step {
	out := make([]step, len(commands))
	for i, c := range commands {
		out[i].args = c
	}
	return out
}

// round draws one.
func (g *generator) round() []step {
	switch n := g.IntN(100); {
	case n < 45:
		return g.commands(1)
	case n < 65:
		return g.commands(2 + g.IntN(40))
	case n < 80:
		return g.block()
	case n < 90:
		return g.watched()
	case n < 94:
		return g.shortLived()
	case n < 97 || !g.alone:
		return g.listing()
	}
	return g.everything()
}

func (g *generator) commands(count int) []step {
	var out []step
	for range count {
		out = append(out, step{args: g.command()})
	}
	return out
}

// within runs f with the keys of one shard.
func (g *generator) within(f func()) {
	g.group = pick(g, g.groups...)
	f()
	g.group = nil
}

// block is a MULTI block, now and then a malformed one.
func (g *generator) block() []step {
	var out []step
	g.within(func() { out = g.transaction() })
	return out
}

func (g *generator) transaction() []step {
	if g.chance(4) {
		return steps(pick(g, []string{"EXEC"}, []string{"DISCARD"}, []string{"UNWATCH"}, []string{"EXEC", "x"}, []string{"MULTI", "x"}))
	}
	out := steps([]string{g.letters("MULTI")})
	for range g.IntN(12) {
		out = append(out, step{args: g.queueable()})
		if g.chance(2) {
			out = append(out, steps(pick(g, []string{"MULTI"}, []string{"WATCH", g.key()}, []string{"UNWATCH"}))...)
		}
	}
	if g.chance(10) {
		return append(out, steps([]string{g.letters("DISCARD")})...)
	}
	return append(out, steps([]string{g.letters("EXEC")})...)
}

// queueable is a command for a block. What is about the connection or the table of commands is
// compared outside of blocks.
func (g *generator) queueable() []string {
	for {
		args := g.command()
		switch canonical(args[0]) {
		case "CLIENT", "SELECT", "COMMAND", "SCAN":
		default:
			return args
		}
	}
}

// watched is a block behind a WATCH, with a write between them by either connection, or none.
func (g *generator) watched() []step {
	var out []step
	g.within(func() {
		out = append(g.commands(g.IntN(3)), step{args: append([]string{"WATCH"}, g.together(1+g.IntN(3))...)})
		if g.chance(50) {
			out = append(out, step{args: g.lasting(), other: g.chance(60)})
		}
		if g.chance(5) {
			out = append(out, steps([]string{"UNWATCH"})...)
		}
		out = append(out, g.transaction()...)
	})
	return append(out, steps([]string{"UNWATCH"})...)
}

// lasting is one command that does not write a key only for it to be gone: Redis lets no block run
// whose absent key came and went, while a node compares what is there at EXEC.
func (g *generator) lasting() []string {
	for {
		args := g.queueable()
		if !slices.ContainsFunc(args, func(a string) bool { return slices.Contains([]string{"EXAT", "PXAT"}, canonical(a)) }) {
			return args
		}
	}
}

// shortLived writes keys that are over before they are read.
func (g *generator) shortLived() []step {
	var out []step
	g.within(func() {
		// Each key once: what the servers answer to a second command depends on how fast they are.
		order := g.Perm(len(g.group))
		for _, i := range order[:1+g.IntN(3)] {
			key, life := g.group[i], strconv.Itoa(1+g.IntN(3))
			out = append(out, steps(pick(g, []string{"SET", key, g.value(), "PX", life}, []string{"PSETEX", key, life, g.value()},
				[]string{"PEXPIRE", key, life}, []string{"GETEX", key, "PX", life}))...)
		}
		// A write takes the time of its shard beyond the ends of these lives. Reads alone do not: while an entry is on its
		// way to a majority, which takes long on a busy machine, they are answered as of a time before it.
		out = append(out, step{wait: 30 * time.Millisecond}, step{args: []string{"SET", g.group[order[len(order)-1]], g.value()}})
		out = append(out, g.commands(1+g.IntN(8))...)
	})
	return out
}

// listing asks for the names of keys, of which all begin with the session's name.
func (g *generator) listing() []step {
	if g.chance(50) {
		return []step{{args: []string{"KEYS", g.pattern()}}}
	}
	args := []string{"MATCH", g.pattern()}
	if g.chance(50) {
		args = append(args, "COUNT", pick(g, "1", "2", "7", "100", "1000000"))
	}
	if g.chance(40) {
		args = append(args, "TYPE", pick(g, "string", "STRING", "hash", "nosuchtype"))
	}
	return []step{{args: args, scan: true}}
}

func (g *generator) pattern() string {
	key := g.universe()[g.IntN(len(g.universe()))]
	name := g.keys[0][:len(g.keys[0])-1] // with its colon
	tag := g.groups[0][0][:len(name)]    // a brace instead
	return pick(g, name+"*", tag+"*", name+"?", name+"[1-3]", name+"[^1-3]*", name+"[2", name+"\\*\\[a\\]\\?\\\\", tag+"[ab]}[^34]",
		tag+"?}*}*{*", name+"*long*l*g", name+"\\1", name+"[\\]1]", name+"[3-1]", name+"\\", key, tag+"b}**?", name+"[]1]", name+"[^]", name+"*[[]*")
}

// everything is about all keys of all sessions: it needs to be alone.
func (g *generator) everything() []step {
	// An expired key counts in Redis until somebody looks at it.
	look := append([]string{"EXISTS"}, g.universe()...)
	switch g.IntN(6) {
	case 0:
		return steps(pick(g, []string{"FLUSHALL"}, []string{"FLUSHDB"}, []string{"FLUSHALL", "ASYNC"}, []string{"FLUSHDB", "sync"}), []string{"DBSIZE"}, []string{"RANDOMKEY"})
	case 1:
		return steps(pick(g, []string{"FLUSHALL", "BOGUS"}, []string{"FLUSHDB", "SYNC", "ASYNC"}, []string{"DBSIZE", "x"}, []string{"RANDOMKEY", "x"}, []string{"KEYS"}, []string{"KEYS", "a", "b"}))
	case 2:
		return []step{{args: []string{}, scan: true}}
	case 3:
		return steps([]string{"KEYS", "*"})
	}
	return steps(look, []string{"DBSIZE"}, []string{"RANDOMKEY"})
}
