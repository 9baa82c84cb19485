package network

import (
	"net"
	"net/netip"
)

// Source is what connections and failures are counted by: the IP address or, for IPv6, the network
// that one customer gets. Connections without such an address share the zero one.
func Source(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is6() {
		if prefix, err := ip.Prefix(64); err == nil {
			return prefix.Addr()
		}
	}
	return ip
}
