package resp

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server"
	"github.com/lightning-db/lightning/server/resp/plan"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// plannable are the rows of the table, and their subcommands, that have a plan.
func plannable() []*command {
	var rows []*command
	for _, cmd := range commands {
		for _, row := range append([]*command{cmd}, cmd.subs...) {
			if row.plan != nil {
				rows = append(rows, row)
			}
		}
	}
	return rows
}

// words are a row's name as arguments.
func (c *command) words() [][]byte {
	var words [][]byte
	for _, word := range strings.Split(c.name, "|") {
		words = append(words, []byte(word))
	}
	return words
}

// answerOf runs a plan on a copy of m, as reads if asReads, and returns the reply and the state.
func answerOf(t *testing.T, m *memory, e plan.Env, p plan.Plan, version int, asReads bool) (string, map[string]api.Item) {
	t.Helper()
	store := &memory{clock: m.clock, items: make(map[string]api.Item), version: m.version}
	for key, item := range m.items {
		store.items[key] = item
	}
	var results []api.OpResult
	var err error
	switch {
	case len(p.Ops) == 0:
	case asReads:
		results, err = store.runOne(t.Context(), &server.Request{Ops: p.Ops})
	default:
		var res api.Result
		res, err = store.Apply(t.Context(), api.Batch{Ops: p.Ops, Independent: true})
		results = res.Ops
	}
	var text bytes.Buffer
	out := wire.NewReply(&text)
	out.Version = version
	if err == nil {
		err = p.Finish(e, &out, results)
	}
	if err != nil {
		if written := text.Len() + out.Pending(); written > 0 {
			t.Fatalf("%d bytes were written before the error %v (U1)", written, err)
		}
		out.Fail(err)
	}
	_ = out.Flush()
	return text.String(), store.items
}

// populated is a memory with values of several kinds.
func populated() *memory {
	m := newMemory()
	for i, value := range []string{"", "1", "abc", "-17.5", "\xff\xf0\x00", "9223372036854775807", strings.Repeat("x", 300)} {
		item := api.Item{Value: []byte(value), Version: api.VersionAt(1_600_000_000_000) + api.Version(i), Found: true}
		if i%2 == 1 {
			item.ExpiryMillis = 1_700_000_000_000 + uint64(i)*1000
		}
		m.items[fmt.Sprint("k", i)] = item
	}
	return m
}

// FuzzPlans: no arguments make a plan panic, write before it fails, plan what the evaluator calls
// malformed, or change a key that the table does not name. A command that only reads answers the
// same alone, from a read, and in a MULTI block, from the log.
func FuzzPlans(f *testing.F) {
	for _, seed := range []string{
		"k1 EX 10", "k2 v NX GET", "k0 k3 IDX WITHMATCHLEN", "k4 0 -1 BIT", "k6 1 0 4 BIT", "k5 1", "k3 0x1p3", "k1 60 XX LT", "k3 -1 GT",
		"k2 7 1", "k2 9223372036854775807 v", "k1 k2 DB 0 REPLACE", "k9 PERSIST", "k1 1 k2 2 k1 3", "k0", "k4 -9223372036854775808 9223372036854775807",
	} {
		f.Add(strings.ReplaceAll(seed, " ", "\x00"), true)
		f.Add(strings.ReplaceAll(seed, " ", "\x00"), false)
	}
	rows := plannable()
	f.Fuzz(func(t *testing.T, joined string, third bool) {
		m := populated()
		e := plan.Env{NowMillis: 1_700_000_000_500}
		version := 2
		if third {
			version = 3
		}
		for _, row := range rows {
			args := row.words()
			for _, arg := range strings.Split(joined, "\x00") {
				args = append(args, []byte(arg))
			}
			if !row.accepts(len(args)) {
				continue
			}
			p, err := row.plan(e, args)
			if err != nil {
				continue
			}
			checkKeys(t, row, args, p.Ops)
			text, after := answerOf(t, m, e, p, version, false)
			if !p.ReadsOnly() {
				continue
			}
			if alone, _ := answerOf(t, m, e, p, version, true); alone != text {
				t.Fatalf("%q answers %q alone and %q in a block", args, alone, text)
			}
			if len(after) != len(m.items) {
				t.Fatalf("%q reads only, but changed the keys", args)
			}
		}
	})
}

// checkKeys fails if operations use other keys than the table says.
func checkKeys(t *testing.T, row *command, args [][]byte, ops []api.Op) {
	t.Helper()
	keys := row.keys(args)
	for i := range ops {
		for _, key := range [][]byte{ops[i].Key, ops[i].Source} {
			if key != nil && !slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, key) }) {
				t.Fatalf("%q uses the key %q, which the table does not name", args, key)
			}
		}
		if i == 0 && ops[i].Joined {
			t.Fatalf("%q begins with an operation that is joined to one before", args)
		}
	}
}

// Every other command whose keys live on several shards is refused before anything is proposed.
func TestOnlyReadsAndRemovalsMaySpanShards(t *testing.T) {
	var spanning []string
	for _, row := range plannable() {
		args := row.words()
		if len(args) == 1 {
			args = append(args, []byte("key"))
		}
		for len(args) < max(row.arity, -row.arity) {
			args = append(args, []byte("1"))
		}
		p, err := row.plan(plan.Env{}, args)
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		if p.Each {
			spanning = append(spanning, row.name)
		}
	}
	if want := []string{"mget", "lcs", "del", "unlink", "exists", "touch"}; !slices.Equal(spanning, want) {
		t.Fatalf("%q", spanning)
	}
}

func TestLCSIsRefusedBeyondItsLimit(t *testing.T) {
	_, m, address := startServer(t, nil)
	c := dial(t, address)
	in := bufio.NewReader(c)
	m.items["a"] = api.Item{Value: make([]byte, 4096), Found: true}
	m.items["b"] = api.Item{Value: make([]byte, 4097), Found: true}
	m.items["c"] = api.Item{Value: make([]byte, api.MaxWholeBytes), Found: true}
	m.items["d"] = api.Item{Value: []byte("x\x00"), Found: true}
	if got := do(t, c, in, "LCS", "a", "a", "LEN"); got != ":4096\r\n" {
		t.Error(got)
	}
	if got := do(t, c, in, "LCS", "c", "d", "LEN"); got != ":1\r\n" {
		t.Error(got)
	}
	if got := do(t, c, in, "LCS", "a", "b", "LEN"); !strings.HasPrefix(got, "-ERR ") || !strings.Contains(got, "16777216") {
		t.Error(got)
	}
}
