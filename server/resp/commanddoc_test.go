package resp

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// commandDocHead stands before the tables of docs/commands.md.
const commandDocHead = "# Redis commands\n\n" +
	"Generated from the table in `server/resp`; do not edit. `go test ./server/resp -run Document -args -rewrite`\nwrites it anew.\n\n" +
	"Replies are those of Redis 7, byte for byte, in RESP2 and RESP3, but for what the last column says.\n" +
	"A command that is not listed answers Redis' `unknown command`.\n\n" +
	"## Two listeners\n\n" +
	"**Any node** (`--resp-port`, 6379) takes every command for every key, and forwards what another node\n" +
	"leads. `CLUSTER` answers as a single Redis does. MGET, EXISTS, TOUCH, DEL and UNLINK take keys of several\n" +
	"shards: each key is read or written linearizably, the command as a whole is not atomic. Other commands on\n" +
	"several keys, and MULTI, need keys of one shard, such as those with the same `{hash tag}`; else they\n" +
	"answer `CROSSSLOT` and nothing is done.\n\n" +
	"**Cluster** (`--resp-cluster-port`, 7379) is for clients in cluster mode. A command for a slot that\n" +
	"another node leads answers `MOVED`, and keys of two slots answer `CROSSSLOT`, as in Redis Cluster. While\n" +
	"nobody is known to lead a slot the node forwards instead. After `READONLY` the replica on the node answers\n" +
	"reads if it can prove that the answer was true within the last `--stale-read-bound` (1 s), else `MOVED`;\n" +
	"without it every read is linearizable. Commands about all keys (SCAN, KEYS, DBSIZE, RANDOMKEY, FLUSHDB,\n" +
	"FLUSHALL) are about the whole cluster on every node of both listeners, where Redis Cluster's are about one\n" +
	"node: a client that asks every node and adds up counts each key once for each node.\n\n" +
	"## Pipelines\n\n" +
	"What a client sends at once is answered in its order, each command as it would be alone. Commands on one\n" +
	"shard run in their order, each when those before it have their outcomes or together with them; a command\n" +
	"that fails keeps no other from running. Commands on keys of different shards may run at the same time, so that\n" +
	"another client may see a later one before an earlier one: who minds waits for the reply, or uses keys with\n" +
	"the same `{hash tag}`. Every command that is not about named keys waits for all before it.\n\n" +
	"## Errors\n\n" +
	"A write is answered when a majority of its shard's nodes has it on disk. Beside Redis' own errors there are:\n\n" +
	"| first word | what it means |\n|---|---|\n" +
	"| `UNKNOWN` | the command may or may not have been executed, or may have been in part: look, or send it again if that does no harm |\n" +
	"| `UNAVAILABLE` | nothing was executed: no leader or no majority was found in time |\n" +
	"| `OVERLOADED` | nothing was executed: slow down |\n" +
	"| `TIMEOUT` | nothing was executed in time |\n" +
	"| `CROSSSLOT` | nothing was executed: the keys live on several shards |\n\n" +
	"`TRYAGAIN`, `CLUSTERDOWN` and `LOADING` are never answered, because clients send the command again at them.\n\n" +
	"## Transactions\n\n" +
	"EXEC makes one write of the block: everything in it happens at one moment, on one shard. A command that\n" +
	"fails is an element of the answer and the others count, as in Redis; a command that is refused when it is\n" +
	"queued breaks the block. If the outcome of the write is not known, the answer to EXEC is one `UNKNOWN`.\n" +
	"WATCH remembers versions and EXEC compares them in the same write. The blocks and watched keys of one\n" +
	"connection hold at most the bytes of a batch, and those of all connections have a bound too.\n\n" +
	"## Before a client has authenticated\n\n" +
	"With a password, a connection may send AUTH, HELLO, RESET and QUIT, in requests of at most 10 arguments and\n" +
	"4 KiB, each within 10 s; at most 256 such connections are open.\n\n" +
	"## Everywhere\n\n" +
	"The empty key is refused. A key has at most 64 KiB, a value 64 MiB, a command 64 MiB and its keys. What\n" +
	"changes a value in place, or returns the one that it has replaced, takes and makes at most 8 MiB. There is\n" +
	"database 0 only. An expired key is gone for every command at once. When a leadership moves, the time of its\n" +
	"shard stands still for up to half a second: what is given a time to live then may live that much longer.\n"

func commandDoc(t *testing.T) string {
	var b strings.Builder
	b.WriteString(commandDocHead)
	redis := redisGroups(t)
	ours := make(map[string][]*command)
	for _, cmd := range commands {
		ours[cmd.group] = append(ours[cmd.group], cmd)
		if slices.ContainsFunc(redis, func(g redisGroup) bool { return g.name != cmd.group && slices.Contains(g.commands, cmd.name) }) {
			t.Errorf("Redis has %s in another group than %s", cmd.name, cmd.group)
		}
	}
	var absent []redisGroup
	for _, g := range redis {
		if list := ours[g.name]; len(list) > 0 {
			fmt.Fprintf(&b, "\n## %s\n\n| command | arguments | what it does | where it differs from Redis |\n|---|---|---|---|\n", strings.ToUpper(g.name[:1])+g.name[1:])
			for _, cmd := range list {
				cmd.document(&b)
			}
		}
		g.commands = slices.DeleteFunc(g.commands, func(name string) bool { return byName[name] != nil })
		if len(g.commands) > 0 {
			absent = append(absent, g)
		}
	}
	b.WriteString("\n## What is not there\n\nCommands of Redis 7 that answer `unknown command`:\n\n")
	for _, g := range absent {
		fmt.Fprintf(&b, "- %s: %s\n", g.name, strings.ToUpper(strings.Join(g.commands, ", ")))
	}
	return b.String()
}

func (c *command) document(b *strings.Builder) {
	if len(c.subs) == 0 || c.run != nil {
		words := 1 + strings.Count(c.name, "|")
		arguments := fmt.Sprint(c.arity - words)
		if c.arity < 0 {
			arguments = fmt.Sprintf("%d or more", -c.arity-words)
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", strings.ToUpper(strings.ReplaceAll(c.name, "|", " ")), arguments, c.summary, c.differs)
	} else {
		fmt.Fprintf(b, "| `%s …` | | %s | %s |\n", strings.ToUpper(c.name), c.summary, c.differs)
	}
	for _, sub := range c.subs {
		if !strings.HasSuffix(sub.name, "|help") {
			sub.document(b)
		}
	}
}

type redisGroup struct {
	name     string
	commands []string
}

// redisGroups are the commands that Redis has.
func redisGroups(t *testing.T) []redisGroup {
	f, err := os.Open("testdata/redis-commands")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var groups []redisGroup
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, list, ok := strings.Cut(lines.Text(), ": ")
		if ok && name[0] != '#' {
			groups = append(groups, redisGroup{name, strings.Fields(list)})
		}
	}
	return groups
}

func TestTheDocumentOfCommandsIsCurrent(t *testing.T) {
	const path = "../../docs/commands.md"
	want := commandDoc(t)
	if f := flag.Lookup("rewrite"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Fatalf("%s is not what the table says (%v)", path, err)
	}
}
