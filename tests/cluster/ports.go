package cluster

import (
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
)

// Ports come from below the ephemeral range, so that no outgoing connection takes the port of a
// node that is being restarted. Processes of one machine start looking at different places.
const (
	firstPort = 12000
	lastPort  = 32000
)

var ports struct {
	sync.Mutex
	next int
}

// FreePort finds a port on which nobody listens, by TCP or UDP, and never returns it again.
func FreePort(t testing.TB) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.next == 0 {
		ports.next = firstPort + os.Getpid()*40%(lastPort-firstPort)
	}
	for range lastPort - firstPort {
		port := ports.next
		if ports.next++; ports.next >= lastPort {
			ports.next = firstPort
		}
		if IsFree(port) {
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// IsFree reports whether nobody listens on port, by TCP or UDP, on loopback.
func IsFree(port int) bool {
	address := fmt.Sprintf("127.0.0.1:%d", port)
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer func() { _ = tcp.Close() }()
	udp, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	return udp.Close() == nil
}
