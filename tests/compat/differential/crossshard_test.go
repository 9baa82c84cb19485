package differential

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/wire"
)

// oneKeyPerShard finds keys that live on different shards.
func oneKeyPerShard(c *cluster.Cluster, prefix string) []string {
	table := c.Table()
	seen := map[string]bool{}
	var keys []string
	for i := range 1000 {
		key := fmt.Sprintf("%s:%d", prefix, i)
		if shard := fmt.Sprint(table.ShardOf(router.Slot(0, []byte(key))).ID); !seen[shard] {
			seen[shard] = true
			keys = append(keys, key)
		}
	}
	return keys
}

// TestACommandOverShardsIsDoneForEachKeyOrRefusedBeforeItDoesAnything has no Redis beside it: this is
// where a cluster cannot be like one.
func TestACommandOverShardsIsDoneForEachKeyOrRefusedBeforeItDoesAnything(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Args: cluster.Patient})
	keys := oneKeyPerShard(c, "shards")
	if len(keys) < 2 {
		t.Fatalf("the cluster has %d shards", len(keys))
	}
	a, b := keys[0], keys[1]
	for _, protocol := range []string{"2", "3"} {
		conn, err := wire.Dial(c.Nodes[0].RESP, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		ask := func(line string) wire.Value {
			t.Helper()
			v, err := conn.Do(strings.Fields(line)...)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return v
		}
		ask("HELLO " + protocol)
		ask("DEL " + strings.Join(keys, " "))
		ask("SET " + a + " before")
		for _, refused := range []string{
			"MSET " + a + " 1 " + b + " 2", "MSETNX " + b + " 1 " + a + " 2", "RENAME " + a + " " + b, "RENAMENX " + a + " " + b, "COPY " + a + " " + b,
			"MULTI|SET " + a + " 1|SET " + b + " 2|EXEC", "MULTI|GET " + a + "|INCR " + b + "|EXEC", "WATCH " + b + "|MULTI|SET " + a + " 1|EXEC",
		} {
			var last wire.Value
			for part := range strings.SplitSeq(refused, "|") {
				last = ask(part)
			}
			if !strings.HasPrefix(last.Raw, "-CROSSSLOT ") {
				t.Errorf("RESP%s %s: %v", protocol, refused, last)
			}
			if v := ask("MGET " + a + " " + b); len(v.Items) != 2 || v.Items[0].Text != "before" || !v.Items[1].Null {
				t.Errorf("RESP%s %s was refused, but now the keys are %v", protocol, refused, v)
			}
			ask("UNWATCH")
		}
		for _, key := range keys {
			ask("SET " + key + " v")
		}
		all := strings.Join(keys, " ")
		for _, command := range []string{"EXISTS", "TOUCH", "DEL", "EXISTS"} {
			want := int64(len(keys))
			if command == "EXISTS" && ask("GET "+a).Null {
				want = 0
			}
			if n, ok := ask(command + " " + all).Number(); !ok || n != want {
				t.Errorf("RESP%s %s of %d keys on as many shards: %d, want %d", protocol, command, len(keys), n, want)
			}
		}
	}
}

// TestTheClusterListenerRefusesCommandsOfSeveralSlots also where one shard has all of them.
func TestTheClusterListenerRefusesCommandsOfSeveralSlots(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 1, Alone: true})
	for line, want := range map[string]string{
		"MGET a b": "-CROSSSLOT ", "DEL a b c": "-CROSSSLOT ", "MSET a 1 b 2": "-CROSSSLOT ", "EXISTS a b": "-CROSSSLOT ", "RENAME a b": "-CROSSSLOT ",
		"MGET {t}a {t}b": "*2\r\n", "MSET {t}a 1 {t}b 2": "+OK", "DEL {t}x {t}y": ":0", "CLUSTER KEYSLOT {t}a": fmt.Sprintf(":%d\r\n", router.Slot(0, []byte("t"))),
		"CLUSTER COUNTKEYSINSLOT 0": ":0", "CLUSTER GETKEYSINSLOT 0 5": "*0", "CLUSTER COUNTKEYSINSLOT 16384": "-ERR Invalid slot", "CLUSTER KEYSLOT": "-ERR wrong number",
	} {
		v, err := do(c.Nodes[0].RESPCluster, strings.Fields(line)...)
		if err != nil || !strings.HasPrefix(v.Raw, want) {
			t.Errorf("%s: %v, %v; want %q", line, v, err, want)
		}
	}
}

// TestAWatchedKeyThatCameAndWentHasNotChanged is where WATCH differs: Redis marks the connection at
// every write, a node compares what is there at EXEC.
func TestAWatchedKeyThatCameAndWentHasNotChanged(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 1, Alone: true})
	for address, want := range map[string]string{startRedis(t): "*-1\r\n", c.Nodes[0].RESP: "*1\r\n+OK\r\n"} {
		conn, err := wire.Dial(address, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		var last wire.Value
		for _, line := range []string{"WATCH k", "*SET k v", "*DEL k", "MULTI", "SET k w", "EXEC"} {
			if other, found := strings.CutPrefix(line, "*"); found {
				last, err = do(address, strings.Fields(other)...)
			} else {
				last, err = conn.Do(strings.Fields(line)...)
			}
			if err != nil || last.IsError() {
				t.Fatalf("%s: %v, %v", line, last, err)
			}
		}
		if last.Raw != want {
			t.Errorf("EXEC: %v, want %q", last, want)
		}
	}
}
