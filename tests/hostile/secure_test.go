package hostile

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/wire"
)

// TestHostileStrangersHarmNobody attacks nodes that want a password, by clients that have none. The
// attackers come from other addresses than the honest client, as far as loopback has them.
func TestHostileStrangersHarmNobody(t *testing.T) {
	const password = "correct-horse-battery-staple"
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := cluster.Start(t, cluster.Options{Args: append([]string{"--password-file", file}, cluster.Patient...)})
	withstand(t, c.Nodes[0], password, []attack{
		{"guesses of the password", 100, "a count for each address that guesses", guesses},
		{"large commands of strangers", 150, "a stranger's command has at most some KiB", strangers},
		{"strangers who say nothing", 200, "1,000 connections, which end by themselves", silentStrangers},
	})
}

// elsewhere connects from another address of loopback.
func (a *attacker) elsewhere(i int) *wire.Conn {
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%200))}}
	conn, err := d.Dial("tcp", a.node.RESP)
	if err != nil {
		a.t.Errorf("connect: %v", err)
		return nil
	}
	a.keep(conn)
	return wire.New(conn)
}

// guesses try passwords as fast as the node lets them, again with new connections when it hangs up.
func guesses(a *attacker) {
	var tries, refused atomic.Int64
	stop := time.Now().Add(4 * time.Second)
	a.each(20, func(i int) {
		for n := 0; time.Now().Before(stop); {
			conn := a.elsewhere(i)
			if conn == nil {
				return
			}
			for ; time.Now().Before(stop); n++ {
				args := []string{"AUTH", fmt.Sprintf("guess %d of %d", n, i)}
				if n%2 == 1 {
					args = []string{"HELLO", "3", "AUTH", "default", args[1]}
				}
				v, err := conn.Do(args...)
				if err != nil {
					break
				}
				tries.Add(1)
				if v.IsError() {
					refused.Add(1)
				}
			}
			_ = conn.Close()
		}
	})
	if tries.Load() == 0 || tries.Load() != refused.Load() {
		a.t.Errorf("%d guesses, %d refused", tries.Load(), refused.Load())
	}
	newcomer, err := wire.Dial(a.node.RESP, patience)
	if err != nil {
		a.t.Fatal(err)
	}
	a.keep(newcomer)
	if v, err := newcomer.Do("AUTH", a.password); err != nil || v.Raw != "+OK\r\n" {
		a.t.Errorf("a client with the right password, from another address, in the flood: %v, %v", v, err)
	}
	say(a.t, "%d guesses, all refused", tries.Load())
}

func strangers(a *attacker) {
	commands := []string{
		"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8388608\r\n" + strings.Repeat("x", 1<<20), "*1000000\r\n" + strings.Repeat("$1\r\nx\r\n", 100_000),
		"*2\r\n$4\r\nAUTH\r\n$8388608\r\n" + strings.Repeat("p", 1<<20), strings.Repeat("PING ", 200_000), "*2\r\n$4\r\nAUTH\r\n$536870912\r\n",
	}
	a.many(200, a.node.RESP, func(i int, conn net.Conn) {
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(conn, commands[i%len(commands)])
		reply, _ := io.ReadAll(io.LimitReader(conn, 1000)) // an error and the end, or only the end
		if strings.HasPrefix(string(reply), "+") {
			a.t.Errorf("a stranger's %.30q was answered with %q", commands[i%len(commands)], reply)
		}
	})
}

func silentStrangers(a *attacker) {
	a.many(1_000, a.node.RESP, func(i int, conn net.Conn) {
		if i%2 == 0 {
			_, _ = io.WriteString(conn, "*2\r\n$4\r\nAUTH\r\n$100\r\nx")
		}
	})
	a.wait(2 * time.Second)
}

// TestHalfOpenTLSHandshakesHarmNobody has clients that begin to shake hands on every port and stop.
func TestHalfOpenTLSHandshakesHarmNobody(t *testing.T) {
	material := cluster.NewSecure(t, cluster.NewAuthority(t))
	n := cluster.Start(t, cluster.Options{Secure: material}).Nodes[0]
	before, peak := residentMiB(t, n), watchMemory(t, n)
	a := &attacker{t: t, node: n}
	defer a.close()
	hello := clientHello(t)
	for _, address := range []string{n.RESP, n.RESPCluster, n.GRPC, n.HTTP} {
		a.many(300, address, func(i int, conn net.Conn) {
			switch i % 4 {
			case 0: // nothing at all
			case 1:
				_, _ = conn.Write(hello[:len(hello)/2])
			case 2:
				_, _ = conn.Write(hello) // and never an answer to the server's part
			case 3:
				_, _ = io.WriteString(conn, "\x16\x03\x01\xff\xff"+strings.Repeat("\x00", 60_000))
			}
		})
	}
	began := time.Now()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", n.RESP, material.TLS())
	if err != nil {
		t.Fatalf("an honest handshake beside 1,200 that were begun: %v", err)
	}
	a.keep(conn)
	honest := wire.New(conn)
	for _, line := range []string{"AUTH " + material.Password, "SET tls v", "GET tls"} {
		_ = conn.SetDeadline(time.Now().Add(patience))
		if v, err := honest.Do(strings.Fields(line)...); err != nil || v.IsError() {
			t.Errorf("%.4s of an honest client: %v, %v", line, v, err)
		}
	}
	took := time.Since(began)
	a.wait(2 * time.Second)
	const boundMiB = 200 // 1,200 handshakes with buffers of tens of KiB
	grew := peak() - before
	say(t, "an honest client beside 1,200 begun handshakes: connected, wrote and read in %v; memory of the node %d MiB, at most %d MiB more; bound %d MiB",
		took.Round(time.Millisecond), before, grew, boundMiB)
	if grew > boundMiB {
		t.Errorf("the node's memory grew by %d MiB, bound %d MiB", grew, boundMiB)
	}
}

// clientHello is what Go's own client says first.
func clientHello(t *testing.T) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		_ = tls.Client(theirs, &tls.Config{ServerName: "localhost", MinVersion: tls.VersionTLS12}).Handshake() // ends with the pipe
		_ = theirs.Close()
	}()
	_ = ours.SetDeadline(time.Now().Add(5 * time.Second))
	hello := make([]byte, 16<<10)
	n, err := ours.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	_ = ours.Close()
	return hello[:n]
}
