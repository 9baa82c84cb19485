package differential

import (
	"slices"
	"strings"
	"time"

	"github.com/lightning-db/lightning/tests/wire"
)

// pair is what both servers answered to one command.
type pair struct {
	args         []string
	theirs, ours wire.Value
}

// rule lets a pair of replies differ.
type rule struct {
	name   string
	reason string
	// documented is what docs/commands.md says of it. It is empty where the servers do the same
	// and only the comparison cannot be exact.
	documented string
	lets       func(p pair) bool
}

// tolerance is how far apart the servers may be asked, with room for a busy machine.
const tolerance = 5 * time.Second

// allPages stands for SCAN in the arguments of a scan from its beginning to its end.
const allPages = "SCAN TO THE END"

// rules are tried in order. A pair without one is a finding.
var rules = []rule{
	{name: "time left", reason: "the servers are asked one after the other",
		lets: oneOf(near, "TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME")},
	{name: "idle time", reason: "the servers' seconds end at different moments",
		lets: func(p pair) bool { return len(p.args) > 1 && canonical(p.args[1]) == "IDLETIME" && near(p) }},
	{name: "names", reason: "keys have no order",
		lets: oneOf(sameItems, "KEYS", allPages)},
	{name: "a page", reason: "cursors are the server's own; whole scans are compared",
		lets: oneOf(bothPages, "SCAN")},
	{name: "any name", reason: "any key is right",
		lets: oneOf(bothKeys, "RANDOMKEY")},

	{name: "the empty key", reason: "a key has at least one byte, in every protocol", documented: "The empty key is refused",
		lets: func(p pair) bool {
			return len(p.args) > 1 && slices.Contains(p.args[1:], "") && p.ours.Raw == "-ERR a key needs at least one byte\r\n"
		}},
	{name: "long values", reason: "what changes a value in place makes at most 8 MiB, because it does so in memory on every replica", documented: "takes and makes at most 8 MiB",
		lets: func(p pair) bool {
			return strings.Contains(p.theirs.Raw, "string exceeds maximum allowed size") && strings.Contains(p.ours.Raw, "string exceeds maximum allowed size (8388608 bytes)")
		}},
	{name: "LCS", reason: "a node serves others too while it compares", documented: "multiply to more than 16777216",
		lets: func(p pair) bool { return strings.Contains(p.ours.Raw, "multiply to more than the limit of 16777216") }},
	{name: "OBJECT", reason: "values are held in one way only", documented: "follows from the value",
		lets: func(p pair) bool {
			return canonical(p.args[0]) == "OBJECT" && !p.theirs.IsError() && !p.ours.IsError() && p.theirs.Null == p.ours.Null
		}},
}

// judge returns the rule that lets p differ, nil when it does not differ, and false when it differs
// without one.
func judge(p pair) (*rule, bool) {
	if p.theirs.Raw == p.ours.Raw {
		return nil, true
	}
	for i := range rules {
		if rules[i].lets(p) {
			return &rules[i], true
		}
	}
	return nil, false
}

func canonical(word string) string { return strings.ToUpper(word) }

func oneOf(f func(pair) bool, commands ...string) func(pair) bool {
	return func(p pair) bool { return len(p.args) > 0 && slices.Contains(commands, canonical(p.args[0])) && f(p) }
}

func near(p pair) bool {
	theirs, ok := p.theirs.Number()
	ours, both := p.ours.Number()
	limit := int64(tolerance.Seconds())
	if strings.HasPrefix(canonical(p.args[0]), "P") {
		limit = tolerance.Milliseconds()
	}
	return ok && both && theirs >= 0 && ours >= 0 && max(theirs, ours)-min(theirs, ours) <= limit
}

func sameItems(p pair) bool {
	return p.theirs.Kind == '*' && p.ours.Kind == '*' && slices.Equal(texts(p.theirs), texts(p.ours))
}

func texts(v wire.Value) []string {
	var out []string
	for _, item := range v.Items {
		out = append(out, item.Text)
	}
	slices.Sort(out)
	return out
}

func bothPages(p pair) bool { return len(p.theirs.Items) == 2 && len(p.ours.Items) == 2 }

func bothKeys(p pair) bool {
	return p.theirs.Kind == '$' && p.ours.Kind == '$' && !p.theirs.Null && !p.ours.Null
}
