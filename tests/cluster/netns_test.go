package cluster

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test program play a small part inside a namespace: print every datagram, or send one.
func TestMain(m *testing.M) {
	switch role := strings.Fields(os.Getenv("CLUSTER_TEST_ROLE")); {
	case len(role) == 0:
		os.Exit(m.Run())
	case role[0] == "listen":
		must(listen(role[1]))
	case role[0] == "send":
		must(send(role[1], role[2]))
	case role[0] == "obey":
		must(obey())
	}
}

func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func listen(address string) error {
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	buf := make([]byte, 100)
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", buf[:n])
	}
}

func send(address, text string) error {
	conn, err := net.Dial("udp", address)
	if err == nil {
		_, err = conn.Write([]byte(text))
	}
	return err
}

// listener is a process in a node's namespace; received delivers what it printed.
func startListener(t *testing.T, c *Cluster, n *Node) (received <-chan string) {
	cmd := exec.Command("ip", "netns", "exec", c.network.namespace(n.Index), os.Args[0])
	cmd.Env = append(os.Environ(), "CLUSTER_TEST_ROLE=listen "+n.Host+":9000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if first := <-lines; first != "listening" {
		t.Fatal(first)
	}
	return lines
}

// arrives sends from one node to another and reports whether it gets there within limit.
func arrives(t *testing.T, c *Cluster, from, to *Node, received <-chan string, limit time.Duration) bool {
	text := fmt.Sprintf("%d", time.Now().UnixNano())
	cmd := exec.Command("ip", "netns", "exec", c.network.namespace(from.Index), os.Args[0])
	cmd.Env = append(os.Environ(), "CLUSTER_TEST_ROLE=send "+to.Host+":9000 "+text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	late := time.After(limit)
	for {
		select {
		case got := <-received:
			if got == text {
				return true
			}
		case <-late:
			return false
		}
	}
}

func TestCutsWorkInTheDirectionAskedForAndHeal(t *testing.T) {
	RequireNetns(t)
	c := &Cluster{t: t, network: newNetwork(t, 3)}
	var received []<-chan string
	for i := range 3 {
		n := &Node{Index: i, Name: fmt.Sprint("node-", i), t: t, Host: c.network.address(i)}
		c.Nodes = append(c.Nodes, n)
		received = append(received, startListener(t, c, n))
	}
	expect := func(what string, want map[[2]int]bool) {
		t.Helper()
		for a := range 3 {
			for b := range 3 {
				if a == b {
					continue
				}
				cut, limit := want[[2]int{a, b}], 10*time.Second
				if cut {
					limit = 200 * time.Millisecond
				}
				if got := arrives(t, c, c.Nodes[a], c.Nodes[b], received[b], limit); got == cut {
					t.Errorf("%s: from %d to %d: arrives=%t", what, a, b, got)
				}
			}
		}
	}
	expect("no cut", nil)
	c.CutOneWay(c.Nodes[0], c.Nodes[1])
	expect("one way", map[[2]int]bool{{0, 1}: true})
	c.Heal()
	expect("healed", nil)
	c.Isolate(c.Nodes[2])
	expect("isolated", map[[2]int]bool{{0, 2}: true, {1, 2}: true, {2, 0}: true, {2, 1}: true})
}
