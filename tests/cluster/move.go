package cluster

import "net"

// Move gives every node another host, and the list of all of the new addresses to join by. No node may run. Ports stay: the
// hosts are addresses of loopback that no other test uses.
func (c *Cluster) Move(host func(i int) string) {
	c.t.Helper()
	for i, n := range c.Nodes {
		if n.Running() {
			c.t.Fatalf("%s still runs", n.Name)
		}
		n.Host = host(i)
		for _, address := range []*string{&n.RESP, &n.RESPCluster, &n.GRPC, &n.HTTP, &n.Addr} {
			_, port, err := net.SplitHostPort(*address)
			if err != nil {
				c.t.Fatal(err)
			}
			*address = net.JoinHostPort(n.Host, port)
		}
		n.setArg("--host", n.Host)
	}
	for _, n := range c.Nodes {
		n.setArg("--join", c.joinList())
	}
}

// setArg changes the value of a flag that the node has.
func (n *Node) setArg(flag, value string) {
	n.t.Helper()
	for i := range n.args {
		if n.args[i] == flag {
			n.args[i+1] = value
			return
		}
	}
	n.t.Fatalf("%s has no %s", n.Name, flag)
}
