package lightningtest

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports come from below those that systems give to outgoing connections, so that no connection
// takes the port of a node that is stopped. Processes begin to look at different places.
const (
	firstPort = 12000
	lastPort  = 32000
)

var ports struct {
	sync.Mutex
	next int
}

// freePort finds a port on which nobody listens, by TCP or UDP, and does not return it again soon.
func freePort() (int, error) {
	ports.Lock()
	defer ports.Unlock()
	if ports.next == 0 {
		ports.next = firstPort + rand.IntN(lastPort-firstPort)
	}
	for range lastPort - firstPort {
		port := ports.next
		if ports.next++; ports.next >= lastPort {
			ports.next = firstPort
		}
		if isFree(port) {
			return port, nil
		}
	}
	return 0, errors.New("no port is free")
}

func isFree(port int) bool {
	address := net.JoinHostPort(host, strconv.Itoa(port))
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	udp, err := net.ListenPacket("udp", address)
	if err == nil {
		err = udp.Close()
	}
	return errors.Join(err, tcp.Close()) == nil
}
