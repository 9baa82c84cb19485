package scenarios

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/workload"
)

func TestThreeNodesAnswerPingWithinTenSeconds(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	for _, n := range c.Nodes {
		if pong, err := redisClient(t, n).Ping(t.Context()).Result(); pong != "PONG" {
			t.Errorf("PING %s: %q, %v", n.Name, pong, err)
		}
	}
	say(t, "three nodes ready after %v", c.ReadyAfter.Round(time.Millisecond))
	if c.ReadyAfter > 10*time.Second {
		t.Errorf("ready after %v", c.ReadyAfter)
	}
	start := time.Now()
	c.StopAll()
	say(t, "three nodes stopped after %v", time.Since(start).Round(time.Millisecond))
	c.StartAll(recovery)
	mustServe(t, "after a clean restart", c.Nodes)
}

func TestOneNodeAloneIsAClusterThatToleratesNoFailure(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 1, Alone: true})
	mustServe(t, "alone", c.Nodes)
	status := c.Nodes[0].MustStatus()
	if status.FailuresTolerated != 0 || len(status.GetMap().GetNodes()) != 1 {
		t.Errorf("status: %v", status)
	}
}

func TestDevRunsThreeNodesAndStopsThemAll(t *testing.T) {
	offset := freeOffset(t)
	cmd := exec.Command(cluster.Binary(t, "lightning-node"), "dev", "--dir", t.TempDir(), "--port-offset", fmt.Sprint(offset))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	lines := make(chan string, 1000)
	go readLines(out, lines)
	text := waitLine(t, lines, "ready in", recovery)
	say(t, "dev printed:\n%s", text)
	for i := range 3 {
		address := fmt.Sprintf("127.0.0.1:%d", 6379+offset+i)
		r := workload.DialRESP(address, nil)
		if pong, err := r.Client.Ping(t.Context()).Result(); pong != "PONG" {
			t.Errorf("PING %s: %q, %v", address, pong, err)
		}
		r.Close()
		if !strings.Contains(text, address) {
			t.Errorf("the table does not show %s", address)
		}
	}
	start := time.Now()
	_ = cmd.Process.Signal(syscall.SIGINT)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		say(t, "dev stopped after %v: %v", time.Since(start).Round(time.Millisecond), err)
		if err != nil {
			t.Errorf("exit after SIGINT: %v", err)
		}
	case <-time.After(recovery):
		t.Fatal("dev did not stop after SIGINT")
	}
	for i := range 3 {
		if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", 6379+offset+i)); err == nil {
			_ = conn.Close()
			t.Errorf("node %d still listens", i)
		}
	}
}

// freeOffset finds an offset at which all ports of dev are free.
func freeOffset(t *testing.T) int {
	t.Helper()
	for range 100 {
		offset := 3000 + rand.IntN(18000)
		free := true
		for i := range 3 {
			for _, base := range []int{5379, 6379, 8379, 9379} {
				free = free && cluster.IsFree(base+offset+i)
			}
		}
		if free {
			return offset
		}
	}
	t.Fatal("no free ports")
	return 0
}

func readLines(r io.Reader, lines chan<- string) {
	defer close(lines)
	for s := bufio.NewScanner(r); s.Scan(); {
		lines <- s.Text()
	}
}

// waitLine returns everything printed up to the line that contains want.
func waitLine(t *testing.T, lines <-chan string, want string, limit time.Duration) string {
	t.Helper()
	var text strings.Builder
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case line, ok := <-lines:
			text.WriteString(line + "\n")
			if strings.Contains(line, want) {
				return text.String()
			}
			if !ok {
				t.Fatalf("ended without %q:\n%s", want, text.String())
			}
		case <-timer.C:
			t.Fatalf("no %q within %v:\n%s", want, limit, text.String())
		}
	}
}
