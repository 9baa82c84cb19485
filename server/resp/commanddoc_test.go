package resp

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

// commandDoc writes docs/commands.md from the table.
func commandDoc() string {
	var b strings.Builder
	b.WriteString("# Redis commands\n\n" +
		"Generated from the table in `server/resp`; do not edit. `go test ./server/resp -run Document -args -rewrite`\nwrites it anew.\n\n" +
		"Any node takes every command for every key. A command that is not listed answers Redis' `unknown\n" +
		"command`. A write is answered when a majority of its shard's nodes has it on disk; an error that begins\n" +
		"with `UNKNOWN` means that it may or may not have been executed.\n\n" +
		"Where Redis differs: it takes the empty key, and any password while it has none; both are refused\n" +
		"here. Its commands on several keys are atomic; here DEL is so for keys of one shard, such as those\n" +
		"with the same `{hash tag}`, and MGET is not.\n\n" +
		"| command | arguments | what it does |\n|---|---|---|\n")
	for _, cmd := range commands {
		arguments := fmt.Sprint(cmd.arity - 1)
		if cmd.arity < 0 {
			arguments = fmt.Sprintf("%d or more", -cmd.arity-1)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.ToUpper(cmd.name), arguments, cmd.summary)
	}
	return b.String()
}

func TestTheDocumentOfCommandsIsCurrent(t *testing.T) {
	const path = "../../docs/commands.md"
	if f := flag.Lookup("rewrite"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(path, []byte(commandDoc()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != commandDoc() {
		t.Fatalf("%s is not what the table says (%v)", path, err)
	}
}
