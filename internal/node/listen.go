package node

import (
	"context"
	"net"
	"strconv"

	"github.com/lightning-db/lightning/internal/network"
)

// listeners are the ports that clients and other nodes use. Gossip opens its own.
type listeners struct {
	resp, grpc, http net.Listener
	respCluster      net.Listener // nil without --resp-cluster-port
}

// listenHost makes "localhost" an address that gossip can bind.
func listenHost(host string) string {
	if host == "localhost" {
		return "127.0.0.1"
	}
	return host
}

func listen(c Config, on network.Network) (listeners, error) {
	var l listeners
	for _, p := range []struct {
		flag string
		port uint16
		into *net.Listener
	}{{"--resp-port", c.RESPPort, &l.resp}, {"--resp-cluster-port", c.RESPClusterPort, &l.respCluster}, {"--grpc-port", c.GRPCPort, &l.grpc}, {"--http-port", c.HTTPPort, &l.http}} {
		if p.port == 0 {
			continue
		}
		address := net.JoinHostPort(listenHost(c.Host), strconv.Itoa(int(p.port)))
		listener, err := on.Listen(context.Background(), address)
		if err != nil {
			l.close()
			return listeners{}, &AddressError{Flag: p.flag, Address: address, Cause: err}
		}
		*p.into = listener
	}
	return l, nil
}

// close is for listeners that no server has taken yet; closing one twice does no harm.
func (l *listeners) close() {
	for _, listener := range []net.Listener{l.resp, l.respCluster, l.grpc, l.http} {
		if listener != nil {
			listener.Close()
		}
	}
}
