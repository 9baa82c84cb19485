package cluster

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// Ports come from below the ephemeral range, so that no outgoing connection takes the port of a node that is being
// restarted. Each process of tests takes blocks of its own, so that no other takes it either.
const (
	firstPort  = 12000
	lastPort   = 32000
	portsBlock = 500
)

var ports struct {
	sync.Mutex
	next, end int
	locks     []*os.File // of the blocks; they are released when the process ends
}

// FreePort finds a port on which nobody listens, by TCP or UDP, and never returns it again.
func FreePort(t testing.TB) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	for {
		if ports.next == ports.end {
			if err := reservePorts(); err != nil {
				t.Fatal(err)
			}
		}
		port := ports.next
		ports.next++
		if IsFree(port) {
			return port
		}
	}
}

// reservePorts takes the first block that no other process has. The file that stands for it stays: who removed
// it could remove one that somebody else has just locked.
func reservePorts() error {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("lightning-tests-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for start := firstPort; start+portsBlock <= lastPort; start += portsBlock {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(start)), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			ports.locks = append(ports.locks, f)
			ports.next, ports.end = start, start+portsBlock
			return nil
		}
		_ = f.Close()
	}
	return fmt.Errorf("every block of ports is in use, see %s", dir)
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
