package resp

import (
	"context"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/glob"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// settings are what CONFIG SET changes while the server runs.
type settings struct {
	maxClients atomic.Int64
	idle       atomic.Int64 // a time.Duration
}

func (s *settings) set(o *Options) {
	s.maxClients.Store(int64(o.MaxConns))
	s.idle.Store(int64(o.IdleTimeout))
}

func (s *settings) idleTimeout() time.Duration { return time.Duration(s.idle.Load()) }

// parameter is one setting that CONFIG knows.
type parameter struct {
	name  string
	value func(s *Server) string
	// set changes it, if it can be changed. What it fails with follows Redis' "CONFIG SET failed".
	set func(s *Server, value []byte) (refusal string)
}

// fixed is a parameter that says how this server behaves and cannot be changed.
func fixed(name, value string) parameter {
	return parameter{name: name, value: func(*Server) string { return value }}
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// parameters are those that clients and tools ask for. The values describe this server in
// Redis' words: each write is synced before it is answered, nothing is evicted.
var parameters = []parameter{
	fixed("appendfsync", "always"),
	fixed("appendonly", "yes"),
	{name: "cluster-enabled", value: func(s *Server) string { return yesNo(s.opts.Cluster) }},
	fixed("cluster-allow-reads-when-down", "no"),
	fixed("cluster-require-full-coverage", "no"),
	fixed("databases", "1"),
	fixed("io-threads", "1"),
	fixed("latency-monitor-threshold", "0"),
	{name: "maxclients", value: func(s *Server) string { return decimal(s.settings.maxClients.Load()) }, set: setMaxClients},
	fixed("maxmemory", "0"),
	fixed("maxmemory-policy", "noeviction"),
	fixed("notify-keyspace-events", ""),
	fixed("proto-max-bulk-len", strconv.Itoa(api.MaxValueBytes)),
	fixed("client-query-buffer-limit", strconv.Itoa(wire.MaxCommandBytes)),
	fixed("replica-read-only", "yes"),
	fixed("save", ""),
	fixed("slowlog-log-slower-than", "-1"),
	fixed("slowlog-max-len", "0"),
	fixed("stop-writes-on-bgsave-error", "yes"),
	fixed("tcp-keepalive", "15"),
	{name: "timeout", value: func(s *Server) string { return decimal(int64(s.settings.idleTimeout() / time.Second)) }, set: setTimeout},
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

func setMaxClients(s *Server, value []byte) string {
	n, refusal := parseBetween(value, 1, math.MaxUint32)
	if refusal == "" {
		s.settings.maxClients.Store(n)
	}
	return refusal
}

func setTimeout(s *Server, value []byte) string {
	n, refusal := parseBetween(value, 0, math.MaxInt32)
	if refusal == "" {
		s.settings.idle.Store(n * int64(time.Second))
	}
	return refusal
}

func parseBetween(value []byte, least, most int64) (n int64, refusal string) {
	n, ok := wire.ParseNumber(value)
	switch {
	case !ok:
		return 0, "argument couldn't be parsed into an integer"
	case n < least || n > most:
		return 0, "argument must be between " + decimal(least) + " and " + decimal(most) + " inclusive"
	}
	return n, ""
}

func findParameter(name string) *parameter {
	for i := range parameters {
		if parameters[i].name == name {
			return &parameters[i]
		}
	}
	return nil
}

func configSubcommands() []*command {
	row := func(name string, arity int, since, summary, differs string, run func(context.Context, *conn, [][]byte) error) *command {
		return &command{name: name, arity: arity, flags: []string{"admin", "noscript", "loading", "stale"}, categories: []string{"@admin", "@slow", "@dangerous"},
			since: since, summary: summary, differs: differs, run: run, queued: true}
	}
	return []*command{
		row("get", -3, "2.0.0", "settings by name or glob", "knows the settings that clients ask for, not all of Redis'", onConfigGet),
		row("set", -4, "2.0.0", "changes maxclients and timeout",
			"on this listener until the node stops; accepts any other setting only at the value that it has", onConfigSet),
		row("resetstat", 2, "2.0.0", "sets the counters of INFO to 0", "", onConfigResetStat),
		row("rewrite", 2, "2.8.0", "refused: nothing here is kept in a file", "", onConfigRewrite),
	}
}

// onConfigGet answers each setting once, under the name that was asked for if it was no glob.
func onConfigGet(_ context.Context, c *conn, args [][]byte) error {
	type pair struct{ name, value string }
	var found []pair
	patterns := make([]*glob.Pattern, len(args)-2)
	for i, arg := range args[2:] {
		patterns[i] = glob.New([]byte(wire.Option(arg)))
	}
	for i := range parameters {
		p := &parameters[i]
		for n, pattern := range patterns {
			matched, err := pattern.Match([]byte(p.name))
			if err != nil {
				return wire.Error("ERR " + err.Error())
			}
			if !matched {
				continue
			}
			name := p.name
			if wire.Option(args[2+n]) == name {
				name = string(args[2+n])
			}
			found = append(found, pair{name, p.value(c.server)})
			break
		}
	}
	c.out.Dict(len(found))
	for _, p := range found {
		c.out.BulkString(p.name)
		c.out.BulkString(p.value)
	}
	return nil
}

// onConfigSet checks every pair before it changes anything, except for values that are out of
// range.
func onConfigSet(_ context.Context, c *conn, args [][]byte) error {
	if len(args)%2 != 0 {
		return wire.ErrSyntax
	}
	failed := func(name, why string) error {
		return wire.Error("ERR CONFIG SET failed (possibly related to argument '" + name + "') - " + why)
	}
	seen := make(map[string]bool)
	for i := 2; i < len(args); i += 2 {
		name := wire.Option(args[i])
		p := findParameter(name)
		switch {
		case p == nil:
			return wire.Error("ERR Unknown option or number of arguments for CONFIG SET - '" + wire.Echo(args[i]) + "'")
		case seen[name]:
			return failed(name, "duplicate parameter")
		case p.set == nil && string(args[i+1]) != p.value(c.server):
			return failed(name, "can't set immutable config")
		}
		seen[name] = true
	}
	for i := 2; i < len(args); i += 2 {
		p := findParameter(wire.Option(args[i]))
		if p.set == nil {
			continue
		}
		if refusal := p.set(c.server, args[i+1]); refusal != "" {
			return failed(p.name, refusal)
		}
	}
	c.out.OK()
	return nil
}

func onConfigResetStat(_ context.Context, c *conn, _ [][]byte) error {
	c.server.stats.reset()
	c.out.OK()
	return nil
}

func onConfigRewrite(context.Context, *conn, [][]byte) error {
	return wire.Error("ERR The server is running without a config file")
}
