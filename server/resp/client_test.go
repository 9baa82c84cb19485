package resp

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"
)

// eventually waits until what happens on another goroutine has happened.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	limit := time.After(10 * time.Second)
	for !holds() {
		select {
		case <-limit:
			t.Fatal("it does not happen")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestAClientSeesItselfAndTheOthers(t *testing.T) {
	_, _, address := startServer(t, nil)
	me, other := dial(t, address), dial(t, address)
	in, otherIn := bufio.NewReader(me), bufio.NewReader(other)
	all(t, me, in, "CLIENT SETNAME me", "CLIENT SETINFO lib-name go", "CLIENT SETINFO lib-ver 1.2")
	all(t, other, otherIn, "SUBSCRIBE a")
	line := regexp.MustCompile(`id=\d+ addr=\S+ laddr=\S+ fd=-1 name=(\S*) age=0 idle=0 flags=(\w+) db=0 sub=(\d) psub=0 ssub=0 multi=(-?\d).* cmd=(\S+) user=default redir=-1 resp=(\d) lib-name=(\S*) lib-ver=(\S*)\n`)
	got := line.FindAllStringSubmatch(all(t, me, in, "CLIENT LIST"), -1)
	if len(got) != 2 || strings.Join(got[0][1:], ",") != "me,N,0,-1,client|list,2,go,1.2" || strings.Join(got[1][1:], ",") != ",P,1,-1,subscribe,2,," {
		t.Errorf("%q", got)
	}
	if got := line.FindAllStringSubmatch(all(t, me, in, "CLIENT LIST TYPE pubsub"), -1); len(got) != 1 || got[0][2] != "P" {
		t.Errorf("%q", got)
	}
	all(t, me, in, "MULTI", "PING", "CLIENT INFO")
	if got := all(t, me, in, "EXEC"); !strings.Contains(got, " flags=x ") || !strings.Contains(got, " multi=2 ") {
		t.Errorf("%q", got)
	}
}

func TestAClientEndsOthersAndItself(t *testing.T) {
	s, _, address := startServer(t, nil)
	me := dial(t, address)
	in := bufio.NewReader(me)
	for _, kill := range []func(id, addr string) string{
		func(id, _ string) string { return "CLIENT KILL ID " + id },
		func(_, addr string) string { return "CLIENT KILL ADDR " + addr },
		func(_, addr string) string { return "CLIENT KILL " + addr },
		func(string, string) string { return "CLIENT KILL TYPE normal" },
		func(string, string) string { return "CLIENT KILL USER default SKIPME yes" },
	} {
		other := dial(t, address)
		id := strings.TrimSpace(all(t, other, bufio.NewReader(other), "CLIENT ID"))[1:]
		command := kill(id, other.LocalAddr().String())
		if got := all(t, me, in, command); got != ":1\r\n" && got != "+OK\r\n" {
			t.Errorf("%s: %q", command, got)
		}
		if _, err := io.ReadAll(other); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", command, err)
		}
		eventually(t, func() bool { return s.connCount() == 1 })
	}
	io.WriteString(me, encode("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")+encode("PING"))
	if got, err := io.ReadAll(in); err != nil || string(got) != ":1\r\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// U5
func TestWhatAConnectionSubscribesToIsBounded(t *testing.T) {
	_, _, address := startServer(t, nil)
	c := dial(t, address)
	in := bufio.NewReader(c)
	var many strings.Builder
	for i := range maxSubscriptions + 1 {
		fmt.Fprint(&many, " c", i)
	}
	for _, command := range []string{"SUBSCRIBE" + many.String(), "PSUBSCRIBE " + strings.Repeat("x", maxSubscriptionBytes+1)} {
		if got := all(t, c, in, command); !strings.HasPrefix(got, "-ERR more than 1024 subscriptions") {
			t.Errorf("%.100q", got)
		}
	}
	if got := all(t, c, in, "GET k"); got != "$-1\r\n" {
		t.Errorf("%q", got)
	}
}

func TestSettingsThatCanChangeDo(t *testing.T) {
	s, _, address := startServer(t, nil)
	c := dial(t, address)
	in := bufio.NewReader(c)
	if got := all(t, c, in, "CONFIG SET maxclients 1"); got != "+OK\r\n" {
		t.Fatal(got)
	}
	if refused, err := io.ReadAll(dial(t, address)); err != nil || string(refused) != "-ERR max number of clients reached\r\n" {
		t.Fatalf("%q, %v", refused, err)
	}
	all(t, c, in, "CONFIG SET maxclients 10 timeout 3600", "FOO")
	if got := s.settings.idleTimeout(); got != time.Hour {
		t.Error(got)
	}
	info := all(t, c, in, "INFO all")
	for _, want := range []string{"maxclients:10\r\n", "rejected_connections:1\r\n", "cmdstat_config|set:calls=2,", "errorstat_ERR:count=1\r\n", "total_error_replies:1\r\n"} {
		if !strings.Contains(info, want) {
			t.Errorf("INFO lacks %s", want)
		}
	}
	all(t, c, in, "CONFIG RESETSTAT")
	if info := all(t, c, in, "INFO all"); strings.Contains(info, "errorstat_ERR") || !strings.Contains(info, "rejected_connections:0\r\n") {
		t.Error("the counters were not reset")
	}
}
