package compat

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
)

// server is what a client is told: where to connect, and a password or none.
type server struct {
	address  string
	password string
}

// clients are what people have. A client is started with one address, as people configure it.
var clients = []struct {
	name    string
	node    func(t *testing.T, s server) // the listener on which any node serves every key
	cluster func(t *testing.T, s server) // the cluster listener
}{
	{"go-redis", goRedisNode, goRedisCluster},
	{"rueidis", rueidisNode, rueidisCluster},
	{"redis-py", redisPy("node"), redisPy("cluster")},
	{"ioredis", nodeJS("ioredis.js", "node"), nodeJS("ioredis.js", "cluster")},
	{"node-redis", nodeJS("noderedis.js", "node"), nodeJS("noderedis.js", "cluster")},
	{"hiredis", hiredisNode, nil}, // it knows no cluster mode; see TestMovedNamesTheNodeThatServes
	{"redis-cli", redisCLI(), redisCLI("-c")},
	{"redis-benchmark", redisBenchmark(4), redisBenchmark(5, "--cluster")},
}

func TestEveryClientWorksOnBothListeners(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Args: cluster.Patient})
	for i, client := range clients {
		n := c.Nodes[i%3]
		t.Run(client.name+"/any node", func(t *testing.T) { client.node(t, server{address: n.RESP}) })
		if client.cluster != nil {
			spreadLeaders(t, c)
			t.Run(client.name+"/cluster", func(t *testing.T) { client.cluster(t, server{address: n.RESPCluster}) })
		}
	}
	t.Run("moved", func(t *testing.T) { movedNamesTheNodeThatServes(t, c) })
}

// spreadLeaders restarts a node that leads every shard, as may happen on a busy machine: a cluster
// with one leader tells little, and redis-benchmark refuses it ("Invalid cluster: 1 node(s)").
func spreadLeaders(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	for range 5 {
		most, led := c.LeaderOfMost(30 * time.Second)
		leaders := c.Leaders(t.Context())
		delete(leaders, 0) // the meta group's, which no slot belongs to
		if len(led) < len(leaders) {
			return
		}
		most.Stop()
		most.Restart()
	}
	t.Fatal("one node leads every shard, again and again")
}

// TestEveryClientGivesThePassword runs them against nodes that want one. What a client does without
// one, package security tests.
func TestEveryClientGivesThePassword(t *testing.T) {
	const password = "correct-horse-battery-staple"
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := cluster.Start(t, cluster.Options{Args: append([]string{"--password-file", file}, cluster.Patient...)})
	for i, client := range clients {
		n := c.Nodes[i%3]
		if client.name == "redis-benchmark" {
			continue // seconds, for what redis-cli and hiredis show
		}
		t.Run(client.name+"/any node", func(t *testing.T) { client.node(t, server{n.RESP, password}) })
		if client.cluster != nil {
			t.Run(client.name+"/cluster", func(t *testing.T) { client.cluster(t, server{n.RESPCluster, password}) })
		}
	}
}

// TestRedisCLISpeaksTLS has the certificate of the cluster's own authority.
func TestRedisCLISpeaksTLS(t *testing.T) {
	material := cluster.NewSecure(t, cluster.NewAuthority(t))
	c := cluster.Start(t, cluster.Options{Secure: material, Args: cluster.Patient})
	ca := material.File(cluster.CAFile)
	redisCLI("--tls", "--cacert", ca)(t, server{c.Nodes[0].RESP, material.Password})
	redisCLI("--tls", "--cacert", ca, "-c")(t, server{c.Nodes[1].RESPCluster, material.Password})
}

const clientsFolder = "tests/compat/clients"

func redisPy(mode string) func(*testing.T, server) {
	return func(t *testing.T, s server) {
		host, port := split(t, s.address)
		say(t, "%s", run(t, program{dir: clientsFolder, env: passwordEnv(s), args: []string{python3, "redispy.py", mode, host, port}}))
	}
}

func nodeJS(file, mode string) func(*testing.T, server) {
	return func(t *testing.T, s server) {
		host, port := split(t, s.address)
		say(t, "%s", run(t, program{dir: nodeFolder(t, clientsFolder), env: passwordEnv(s), args: []string{"node", file, mode, host, port}}))
	}
}

func passwordEnv(s server) []string { return []string{"LIGHTNING_PASSWORD=" + s.password} }

func hiredis(t *testing.T) string {
	return compileC(t, filepath.Join(cluster.Root(), clientsFolder, "hiredis.c"))
}

func hiredisNode(t *testing.T, s server) {
	host, port := split(t, s.address)
	say(t, "%s", run(t, program{env: passwordEnv(s), args: []string{hiredis(t), "node", host, port}}))
}
