package differential

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/wire"
)

// scripts are what clients say first, what they say wrongly, and what changes a connection. Each
// line is one command; a script has a connection of its own.
var scripts = []string{
	"PING\nPING hello\nPING a b\nECHO x\nECHO\nECHO a b\nTIME x\nQUIT\nPING",
	"SELECT 0\nSELECT 1\nSELECT -1\nSELECT x\nSELECT\nSELECT 0 0",
	"HELLO\nHELLO 2\nHELLO 3\nHELLO 2\nHELLO 4\nHELLO 1\nHELLO x\nHELLO 3 BOGUS\nHELLO 3 AUTH a\nHELLO 3 SETNAME\nHELLO 3 SETNAME me\nCLIENT GETNAME\nHELLO 3 SETNAME a\x01b",
	"AUTH secret\nAUTH\nAUTH a b c\nAUTH nobody secret\nHELLO 3 AUTH nobody secret\nPING",
	"CLIENT SETNAME me\nCLIENT GETNAME\nCLIENT SETNAME\nCLIENT SETNAME \x01\nCLIENT\nCLIENT BOGUS\nCLIENT GETNAME x\nCLIENT ID x\nCLIENT NO-EVICT on\nCLIENT NO-EVICT x\nCLIENT NO-EVICT",
	"CLIENT REPLY ON\nCLIENT REPLY BOGUS\nCLIENT REPLY SKIP\nPING dropped\nPING kept\nCLIENT REPLY OFF\nPING dropped\nCLIENT REPLY ON\nPING kept",
	"CLIENT SETNAME me\nRESET\nCLIENT GETNAME\nMULTI\nRESET\nEXEC\nRESET x",
	"COMMAND BOGUS\nCOMMAND COUNT x\nCOMMAND GETKEYS\nCOMMAND GETKEYS GET\nCOMMAND GETKEYS PING\nCOMMAND GETKEYS nosuch a\nCOMMAND INFO nosuch\nCOMMAND LIST FILTERBY BOGUS x\nCOMMAND LIST FILTERBY\nCOMMAND DOCS nosuch\nCOMMAND LIST FILTERBY MODULE none",
	"CONFIG GET nosuch\nCONFIG GET\nCONFIG BOGUS\nCONFIG SET\nCONFIG SET nosuch 1\nCONFIG SET save\nCONFIG GET databases\nCONFIG GET save",
	"CLUSTER INFO\nCLUSTER SLOTS\nCLUSTER NODES\nCLUSTER MYID\nCLUSTER BOGUS\nCLUSTER\nREADONLY\nREADWRITE\nASKING",
	"SUBSCRIBE a b\nPING\nPING text\nGET x\nSET x y\nUNSUBSCRIBE a\nUNSUBSCRIBE\nUNSUBSCRIBE\nPING\nGET scripts:absent",
	"PSUBSCRIBE a* b*\nSUBSCRIBE a\nPUNSUBSCRIBE\nUNSUBSCRIBE zzz\nUNSUBSCRIBE\nPING",
	"SUBSCRIBE\nPSUBSCRIBE\nSUBSCRIBE a\nQUIT",
	"SUBSCRIBE a\nRESET\nPING\nGET scripts:absent",
	"MULTI\nMULTI\nWATCH a\nSET scripts:k\nEXEC\nEXEC\nDISCARD\nMULTI\nnosuch\nEXEC\nMULTI\nDISCARD\nMULTI\nEXEC",
	"MULTI\nPING\nECHO x\nGET scripts:absent\nEXEC\nMULTI\nSET scripts:k abc\nINCR scripts:k\nGET scripts:k\nEXEC\nDEL scripts:k",
	"MULTI\nSUBSCRIBE a\nUNSUBSCRIBE a\nDISCARD",
	"MULTI\nUNWATCH\nEXEC\nWATCH\nUNWATCH x\nMULTI x\nEXEC x\nDISCARD x\nMULTI\nEXEC x\nEXEC",
	"MULTI\nSELECT 0\nCLIENT GETNAME\nEXEC",
	// What a watched key's owner does to it, and whether that counts as a change.
	watched("SETBIT scripts:w 1 1"), watched("SETBIT scripts:w 1 0"), watched("SETBIT scripts:w 9 0"), watched("SETBIT scripts:absent 1 0"),
	watched("EXPIREAT scripts:w 4000000000"), watched("EXPIREAT scripts:w 4000000000 GT"), watched("EXPIREAT scripts:w 4000000001 GT"),
	watched("PERSIST scripts:w"), watched("PERSIST scripts:n"), watched("GETEX scripts:w"), watched("GETEX scripts:n PERSIST"),
	watched("GETEX scripts:w EXAT 4000000000"), watched("GETEX scripts:w PERSIST"), watched("SET scripts:w a KEEPTTL"), watched("SET scripts:w b NX"),
	watched("SETNX scripts:w b"), watched("INCRBY scripts:n 0"), watched("INCRBYFLOAT scripts:n 0"), watched("SETRANGE scripts:w 0 a"), watched("APPEND scripts:w a"),
	watched("COPY scripts:w scripts:n"), watched("COPY scripts:w scripts:n REPLACE"), watched("RENAME scripts:w scripts:w"), watched("RENAMENX scripts:w scripts:n"),
	watched("MSET scripts:w a"), watched("MSETNX scripts:w a"), watched("GETSET scripts:w a"), watched("DEL scripts:absent"), watched("GETDEL scripts:absent"),
	watched("TOUCH scripts:w"), watched("EXPIRE scripts:absent -1"), watched("EXPIRE scripts:w -1"), watched("SET scripts:w a GET"), watched("FLUSHALL BOGUS"),
	"MULTI\nQUIT\nPING",
	"NOSUCH\nNOSUCH a b c\nnosuch \x01\xff\nGET\nget a b\nSET a\nMSET a\nMSET a b c\nDEL\nEXISTS\nKEYS\nSCAN\nDBSIZE x\nRANDOMKEY x\nOBJECT\nOBJECT ENCODING\nOBJECT BOGUS k\nOBJECT HELP x",
	"WAIT 0 10\nWAIT x 0\nWAIT 0 -1\nWAIT\nACL WHOAMI\nACL WHOAMI x\nACL BOGUS\nMODULE LIST\nMODULE BOGUS",
	"CLIENT TRACKINGINFO\nCLIENT TRACKING off\nCLIENT TRACKING x\nCLIENT CACHING yes\nCLIENT GETREDIR\nCLIENT KILL\nCLIENT KILL ID x\nCLIENT KILL 1.2.3.4:5\nCLIENT UNBLOCK x\nCLIENT UNBLOCK 999999\nCLIENT UNPAUSE\nCLIENT PAUSE x\nCLIENT LIST TYPE x\nCLIENT LIST ID x",
	"COMMAND GETKEYSANDFLAGS GET a\nCOMMAND GETKEYSANDFLAGS MSET a 1 b 2\nCOMMAND GETKEYSANDFLAGS PING\nCOMMAND GETKEYS RENAME a b\nCOMMAND GETKEYS LCS a b\nCOMMAND GETKEYS OBJECT FREQ a\nCOMMAND LIST FILTERBY PATTERN getra*",
	"FLUSHALL BOGUS\nFLUSHDB BOGUS\nFLUSHDB ASYNC SYNC",
	strings.Repeat("x", 200) + " " + strings.Repeat("y", 200) + " " + strings.Repeat("z", 200),
	strings.Repeat("NOSUCH ", 60),
}

// watched is a script in which a watched key that expires, one that does not, and one that is absent
// meet a command of the connection that watches them.
func watched(command string) string {
	return "DEL scripts:absent\nSET scripts:w a EXAT 4000000000\nSET scripts:n 5\nWATCH scripts:w scripts:n scripts:absent\n" + command + "\nMULTI\nECHO ran\nEXEC\nDEL scripts:w scripts:n scripts:absent"
}

// raw is what is no command at all, and what only looks like one.
var raw = []string{
	"PING\r\n", "PING\n", "  PING  \r\n", "\r\n\r\nPING\r\n", "PING \"a b\"\r\n", "PING 'a\\'b'\r\n", "PING \"\\x41\\n\\t\\q\"\r\n",
	"PING \"a\r\n", "PING \"a\"b\r\n", "*0\r\nPING\r\n", "*-1\r\nPING\r\n", "*1\r\n$4\r\nPING\r\n", "*1\r\n$-1\r\n", "*1\r\nPING\r\n", "*x\r\n", "*\r\n",
	"*1\r\n$x\r\n", "*2147483648\r\n", "*1\r\n$2147483648\r\n", "*1\r\n$99999999999999999999\r\n", "*99999999999999999999\r\n",
	"*1\r\n:1\r\n", "+PING\r\n", "$4\r\nPING\r\n", "_\r\n", "*1\r\n*1\r\n$4\r\nPING\r\n", strings.Repeat("*1\r\n", 100),
}

// scriptRules are the differences that scripts are allowed, beside the rules for all commands.
var scriptRules = []rule{
	{name: "HELLO", reason: "version and connection number are each server's own", lets: oneOf(sameHello, "HELLO")},
}

func sameHello(p pair) bool {
	return len(p.theirs.Items) == 14 && slices.Equal(helloFacts(p.theirs), helloFacts(p.ours))
}

// helloFacts are the names and the values that do not tell servers apart.
func helloFacts(v wire.Value) []string {
	facts := []string{string(v.Kind)}
	for i := 0; i+1 < len(v.Items); i += 2 {
		facts = append(facts, v.Items[i].Raw)
		if name := v.Items[i].Text; name != "version" && name != "id" {
			facts = append(facts, v.Items[i+1].Raw)
		}
	}
	return facts
}

func TestScriptsAndGarbageGetRedisReplies(t *testing.T) {
	theirs := startRedis(t)
	c := cluster.Start(t, cluster.Options{Nodes: 1, Alone: true})
	compareScripts(t, theirs, c.Nodes[0].RESP)
}

func TestTwoRedisServersAnswerScriptsAlike(t *testing.T) {
	compareScripts(t, startRedis(t), startRedis(t))
}

func compareScripts(t *testing.T, theirs, ours string) {
	commands, differ := 0, 0
	for _, protocol := range []string{"2", "3"} {
		for _, script := range scripts {
			lines := strings.Split(script, "\n")
			var sent []string
			var out []byte
			for _, line := range lines {
				sent = append(sent, line)
				out = append(out, wire.Command(strings.Split(line, " ")...)...)
			}
			commands += len(lines)
			differ += compareScript(t, "RESP"+protocol, sent, wire.Command("HELLO", protocol), out, theirs, ours)
		}
	}
	for _, text := range raw {
		commands++
		differ += compareScript(t, "raw", []string{text}, nil, []byte(text), theirs, ours)
	}
	say(t, "%d commands and pieces of garbage, %d replies differ by a rule", commands, differ)
}

// sentinel is the last thing that is said, so that all replies before it are known to be there.
const sentinel = "the end of the script"

func compareScript(t *testing.T, kind string, lines []string, before, script []byte, theirs, ours string) (byRule int) {
	t.Helper()
	a, b := recite(t, theirs, before, script), recite(t, ours, before, script)
	if len(a) != len(b) {
		t.Errorf("%s %.300q: %d replies, want %d:\n  theirs %v\n  ours   %v", kind, lines, len(b), len(a), a, b)
		return 0
	}
	for i := range a {
		line := ""
		if i < len(lines) && len(a) == len(lines)+1 { // one reply each, and the sentinel's
			line = lines[i]
		}
		switch p := (pair{strings.Fields(line), a[i], b[i]}); {
		case a[i].Raw == b[i].Raw:
		case slices.ContainsFunc(scriptRules, func(r rule) bool { return r.lets(p) }):
			byRule++
		default:
			t.Errorf("%s, reply %d, %.200q of %.300q:\n  theirs %v\n  ours   %v", kind, i, line, lines, a[i], b[i])
		}
	}
	return byRule
}

// recite sends everything at once and reads until the sentinel's reply or the end of the connection.
func recite(t *testing.T, address string, before, script []byte) []wire.Value {
	t.Helper()
	c, err := wire.Dial(address, limit)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if before != nil {
		if _, err := c.Write(before); err != nil {
			t.Fatal(err)
		}
		if v, err := c.Next(); err != nil || v.IsError() {
			t.Fatalf("%q: %v, %v", before, v, err)
		}
	}
	if _, err := c.Write(append(slices.Clone(script), wire.Command("PING", sentinel)...)); err != nil {
		t.Fatal(err)
	}
	var replies []wire.Value
	for {
		v, err := c.Next()
		if err != nil {
			if err != io.EOF && !regexp.MustCompile("reset|EOF").MatchString(err.Error()) {
				replies = append(replies, wire.Value{Raw: fmt.Sprintf("no reply: %v", err)})
			}
			return append(replies, wire.Value{Raw: "the connection ends"})
		}
		replies = append(replies, v)
		if strings.Contains(v.Raw, sentinel) {
			return replies
		}
	}
}
