package hostile

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/wire"
)

// TestHostileRedisClientsHarmNobody attacks one node of three by the port for Redis clients.
func TestHostileRedisClientsHarmNobody(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Args: cluster.Patient})
	withstand(t, c.Nodes[0], "", []attack{
		{"slow senders", 400, "64 KiB for each connection, and as much again as it sent", slowSenders},
		{"stalled senders", 400, "256 MiB for all large commands, and 64 KiB for each connection", stalledSenders},
		{"unread echoes", 400, "256 MiB for all large commands, and 64 KiB for each connection", unreadEchoes},
		{"unread replies", 600, "a reply of 1 MiB and its buffers for each of 60 connections, and the collector's slack", unreadReplies},
		{"lengths of 2 GiB", 200, "a refused length reserves nothing", hugeLengths},
		{"announced but never sent", 200, "64 KiB for each connection, and nothing for what is only announced", announced},
		{"deep nesting", 150, "requests have one level", deepNesting},
		{"garbage", 200, "an inline request is at most 64 KiB", garbage},
		{"pathological globs", 300, "a page of keys at a time", globs},
		{"idle connections", 450, "less than 80 KiB for each of 5,000 connections", idle},
		{"unread large reads", 1000, "256 MiB for replies that wait for their clients, 64 MiB for those that wait for room, 128 MiB for reads under way, and as much again for the collector", unreadLargeReads},
	})
}

// slowSenders begin commands with large values and go on with a byte a second.
func slowSenders(a *attacker) {
	a.many(300, a.node.RESP, func(i int, conn net.Conn) {
		size := []int{100, 60_000, 1 << 20, 8 << 20}[i%4]
		_, _ = fmt.Fprintf(conn, "*3\r\n$3\r\nSET\r\n$9\r\nhostile:s\r\n$%d\r\n", size)
		for range 6 {
			a.wait(time.Second)
			if _, err := conn.Write([]byte{'x'}); err != nil {
				return // thrown out: that is the node's right
			}
		}
	})
}

// stalledSenders send enough of a large command to be known as one, and no more.
func stalledSenders(a *attacker) {
	a.many(100, a.node.RESP, func(_ int, conn net.Conn) {
		_, _ = fmt.Fprintf(conn, "*2\r\n$4\r\nECHO\r\n$8000000\r\n%s", strings.Repeat("v", 100<<10))
	})
	a.wait(3 * time.Second)
}

// unreadEchoes are large commands whose replies nobody takes in.
func unreadEchoes(a *attacker) {
	ask := []byte(strings.Repeat(string(wire.Command("ECHO", strings.Repeat("v", 100<<10))), 200))
	a.many(100, a.node.RESP, func(_ int, conn net.Conn) {
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		_ = conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
		_, _ = conn.Write(ask)
	})
	a.wait(2 * time.Second)
}

// unreadReplies ask for far more than sockets hold and take nothing in.
func unreadReplies(a *attacker) {
	c := wire.New(a.dial(a.node.RESP))
	if v, err := c.Do("SET", "hostile:mib", strings.Repeat("v", 1<<20)); err != nil || v.IsError() {
		a.t.Errorf("SET of 1 MiB: %v, %v", v, err)
	}
	ask := []byte(strings.Repeat(string(wire.Command("GET", "hostile:mib")), 200))
	a.many(60, a.node.RESP, func(_ int, conn net.Conn) {
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		_ = conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
		_, _ = conn.Write(ask) // a node that reads no further is right
	})
	a.wait(5 * time.Second)
}

// unreadLargeReads are replies of 48 MiB that nobody takes in, also those of blocks. Small reads beside
// them are answered.
func unreadLargeReads(a *attacker) {
	honest := wire.New(a.dial(a.node.RESP))
	read, block := []string{"MGET"}, string(wire.Command("MULTI"))
	for i := range 6 {
		key := fmt.Sprintf("hostile:8mib:%d", i)
		if v, err := honest.Do("SET", key, strings.Repeat("v", 8<<20)); err != nil || v.IsError() {
			a.t.Errorf("SET of 8 MiB: %v, %v", v, err)
		}
		read = append(read, key)
	}
	block += string(wire.Command("GET", read[1])) + string(wire.Command("EXEC"))
	asks := [][]byte{wire.Command(read...), wire.Command(read...), wire.Command(read...), []byte(block)}
	a.many(60, a.node.RESP, func(i int, conn net.Conn) {
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		_, _ = conn.Write(asks[i%len(asks)])
	})
	for i := range 60 {
		key, value := fmt.Sprintf("hostile:small:%d", i), fmt.Sprint(i)
		if v, err := honest.Do("SET", key, value); err != nil || v.Raw != "+OK\r\n" {
			a.t.Errorf("SET: %v, %v", v, err)
		}
		if v, err := honest.Do("MGET", key, "hostile:none", key); err != nil || v.Raw != "*3\r\n"+bulk(value)+"$-1\r\n"+bulk(value) {
			a.t.Errorf("MGET: %v, %v", v, err)
		}
		a.wait(50 * time.Millisecond)
	}
	// The room of who takes nothing in goes to who does. Until then a read is refused, or times out on a busy machine.
	began := time.Now()
	for {
		v, err := honest.Do(read...)
		if err == nil && len(v.Items) == 6 {
			say(a.t, "an MGET of 48 MiB is answered after %v", time.Since(began).Round(time.Millisecond))
			return
		}
		refused := strings.HasPrefix(v.Raw, "-OVERLOADED") || strings.HasPrefix(v.Raw, "-UNAVAILABLE")
		if err != nil || !refused || time.Since(began) > 3*patience {
			a.t.Errorf("MGET of 48 MiB after %v: %v, %v", time.Since(began), v, err)
			return
		}
		a.wait(100 * time.Millisecond)
	}
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

func hugeLengths(a *attacker) {
	headers := []string{
		"*2147483648\r\n", "*1\r\n$2147483648\r\n", "*2147483647\r\n", "*1048577\r\n", "*9223372036854775807\r\n",
		"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2147483648\r\n", "*2\r\n$9223372036854775807\r\n", "*1\r\n$536870913\r\n",
	}
	a.many(400, a.node.RESP, func(i int, conn net.Conn) {
		_, _ = conn.Write([]byte(headers[i%len(headers)]))
		reply := make([]byte, 256)
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if n, err := conn.Read(reply); err != nil || !strings.HasPrefix(string(reply[:n]), "-ERR Protocol error") {
			a.t.Errorf("%q: %q, %v", headers[i%len(headers)], reply[:n], err)
		}
	})
}

// announced lengths are within the bounds of the protocol, but nothing follows them.
func announced(a *attacker) {
	headers := []string{
		"*1048576\r\n", "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8388608\r\n", "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n",
		"*4000\r\n$4\r\nMGET\r\n$8388608\r\n", "*1\r\n$65000\r\n",
	}
	a.many(400, a.node.RESP, func(i int, conn net.Conn) { _, _ = conn.Write([]byte(headers[i%len(headers)])) })
	a.wait(3 * time.Second)
}

func deepNesting(a *attacker) {
	a.many(50, a.node.RESP, func(i int, conn net.Conn) {
		text := strings.Repeat("*1\r\n", 200_000)
		if i%2 == 1 {
			text = "*2\r\n$4\r\nECHO\r\n" + text
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = conn.Write([]byte(text)) // refused after its first line
	})
}

func garbage(a *attacker) {
	seed := rand.Uint64()
	say(a.t, "seed %d", seed)
	for round := range 5 {
		a.many(60, a.node.RESP, func(i int, conn net.Conn) {
			rng := rand.New(rand.NewPCG(seed, uint64(1000*round+i)))
			_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
			_, _ = conn.Write(nonsense(rng))
		})
	}
}

// nonsense is what may come from a wrong port or a fuzzer.
func nonsense(rng *rand.Rand) []byte {
	random := make([]byte, 1+rng.IntN(300_000))
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	forms := []string{
		string(random), strings.Repeat("x", 1<<20), strings.Repeat("\"", 60_000) + "\r\n", strings.Repeat("'a' ", 15_000) + "\r\n",
		strings.Repeat("\r\n", 100_000), strings.Repeat("*0\r\n", 100_000), strings.Repeat("PING\r\n", 5_000), strings.Repeat("NOSUCH a b c\r\n", 5_000),
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + string(random), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"*3\r\n$3\r\nSET\r\n$3\r\nabc" + string(random), "\"\\x" + strings.Repeat("\\x00", 10_000) + "\"\r\n",
	}
	return []byte(forms[rng.IntN(len(forms))])
}

// globs ask for keys of many equal letters by patterns that make a careless matcher try all ways.
func globs(a *attacker) {
	c := wire.New(a.dial(a.node.RESP))
	for i := range 60 {
		key := "hostile:" + strings.Repeat("a", 500+100*i)
		if v, err := c.Do("SET", key, "v"); err != nil || v.IsError() {
			a.t.Fatalf("SET: %v, %v", v, err)
		}
	}
	patterns := []string{
		"hostile:" + strings.Repeat("a*", 40) + "bb", "*" + strings.Repeat("a*", 200) + "bb", strings.Repeat("*", 5_000) + "bb",
		"*" + strings.Repeat("?*", 100) + "bb", "*" + strings.Repeat("[a-z]*", 100) + "[^a]bb", "hostile:" + strings.Repeat("*a", 1_000) + "*bb",
		"*" + strings.Repeat("[", 1_000) + "bb",
	}
	a.many(2*len(patterns), a.node.RESP, func(i int, conn net.Conn) {
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		ask := wire.Command("KEYS", patterns[i/2])
		if i%2 == 0 {
			ask = wire.Command("SCAN", "0", "COUNT", "1000", "MATCH", patterns[i/2])
		}
		_, _ = conn.Write(ask)
		// Refused as too costly is an answer too.
		if v, err := wire.New(conn).Next(); err != nil || i%2 == 1 && len(v.Items) != 0 {
			a.t.Errorf("the pattern %.40q: %v, %v", patterns[i/2], v, err)
		}
	})
}

// idle opens connections that say nothing at all, or began to and stopped.
func idle(a *attacker) {
	count := 5_000
	if most := descriptors(a.t); most < count {
		say(a.t, "only %d connections: the limit of open files does not allow 5,000", most)
		count = most
	}
	a.many(count, a.node.RESP, func(i int, conn net.Conn) {
		if i%5 == 0 {
			_, _ = io.WriteString(conn, "*2\r\n$4\r\nECHO\r\n$5\r\nhe")
		}
	})
	a.wait(3 * time.Second)
}
