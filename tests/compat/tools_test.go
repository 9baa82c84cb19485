package compat

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/tests/cluster"
)

// redisCLI talks to the server as a person would, with flags in front of each command.
func redisCLI(flags ...string) func(*testing.T, server) {
	return func(t *testing.T, s server) {
		host, port := split(t, s.address)
		cli := func(args ...string) string {
			t.Helper()
			command := slices.Concat([]string{"redis-cli", "-h", host, "-p", port}, flags, args)
			return run(t, program{env: cliEnv(s), args: command})
		}
		want := func(want string, args ...string) {
			t.Helper()
			if got := cli(args...); got != want {
				t.Errorf("redis-cli %s: %q, want %q", strings.Join(append(slices.Clone(flags), args...), " "), got, want)
			}
		}
		want("PONG", "PING")
		for i := range 20 { // on all shards
			key := fmt.Sprintf("cli:%d", i)
			want("OK", "SET", key, fmt.Sprint(i), "EX", "1000")
			want(fmt.Sprint(i), "-3", "GET", key)
		}
		want("20", "INCR", "cli:19")
		want("OK", "MSET", "{cli}1", "a", "{cli}2", "b")
		want("a\nb", "MGET", "{cli}1", "{cli}2")
		want("2", "DEL", "{cli}1", "{cli}2")
		// The first command takes redis-cli to the node that the block has to be begun on.
		block := program{env: cliEnv(s), in: "DEL {cli}3\nMULTI\nSET {cli}3 1\nINCR {cli}3\nEXEC\n",
			args: slices.Concat([]string{"redis-cli", "-h", host, "-p", port}, flags)}
		cluster.Eventually(t, patience, "a MULTI block by redis-cli", func() error {
			if got := run(t, block); !strings.HasSuffix(got, "\nOK\nQUEUED\nQUEUED\nOK\n2") {
				return fmt.Errorf("it prints %q", got)
			}
			return nil
		})
	}
}

func cliEnv(s server) []string {
	if s.password == "" {
		return nil
	}
	return []string{"REDISCLI_AUTH=" + s.password}
}

// leaderMoved is what redis-benchmark says once for each connection when another node leads a shard
// than when it began; it then asks that one.
const leaderMoved = "WARNING: Cluster slots configuration changed, fetching new one..."

var trouble = regexp.MustCompile(`(?i)err|warn|could not|unknown|crossslot|moved`)

// redisBenchmark wants a run without any complaint, with one request under way and with 16. Only in
// cluster mode do its MSETs name keys of one slot, so only there are they measured.
func redisBenchmark(commands int, flags ...string) func(*testing.T, server) {
	kinds := strings.Join([]string{"ping", "set", "get", "incr", "mset"}[:commands], ",")
	return func(t *testing.T, s server) {
		host, port := split(t, s.address)
		for _, depth := range []string{"1", "16"} {
			command := slices.Concat([]string{"redis-benchmark", "-h", host, "-p", port}, flags,
				[]string{"-t", kinds, "-n", "1000", "-c", "20", "-r", "1000", "-P", depth, "-q"})
			if s.password != "" {
				command = append(command, "-a", s.password)
			}
			out := run(t, program{args: command})
			if found := trouble.FindString(strings.ReplaceAll(out, leaderMoved, "")); found != "" {
				t.Errorf("%s prints %q:\n%s", strings.Join(command, " "), found, out)
			}
			if n := strings.Count(out, "requests per second"); n < commands {
				t.Errorf("%s measured %d commands:\n%s", strings.Join(command, " "), n, out)
			}
			say(t, "-P %s: %s", depth, lastLines(out))
		}
	}
}

// lastLines leaves of each line what stands behind the last carriage return, as a terminal shows it.
func lastLines(out string) string {
	var lines []string
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line[strings.LastIndexByte(strings.TrimRight(line, "\r\n"), '\r')+1:])
		if strings.Contains(line, "requests per second") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// movedNamesTheNodeThatServes asks every node for the same keys by a client that follows nothing.
func movedNamesTheNodeThatServes(t *testing.T, c *cluster.Cluster) {
	ask := hiredis(t)
	for i := range 8 {
		key := fmt.Sprintf("moved:%d", i)
		slot := router.Slot(0, []byte(key))
		cluster.Eventually(t, patience, "one node serves "+key+" and the others name it", func() error {
			serving, moved := "", map[string]string{}
			for _, n := range c.Nodes {
				host, port := split(t, n.RESPCluster)
				answer := run(t, program{args: []string{ask, "moved", host, port, key}})
				if answer == "served" {
					if serving != "" {
						return fmt.Errorf("%s and %s both serve it", serving, n.RESPCluster)
					}
					serving = n.RESPCluster
					continue
				}
				moved[n.RESPCluster] = answer
			}
			for node, answer := range moved {
				if want := fmt.Sprintf("MOVED %d %s", slot, serving); answer != want {
					return fmt.Errorf("%s answers %q, want %q", node, answer, want)
				}
			}
			return nil
		})
	}
}
