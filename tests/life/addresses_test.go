package life

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/tests/cluster"
)

var moves = flag.Int("life.moves", 1, "how often all nodes restart at new addresses")

// TestAllNodesRestartAtNewAddressesAndLoseNothing stops or kills all nodes, and starts them where none was before.
func TestAllNodesRestartAtNewAddressesAndLoseNothing(t *testing.T) {
	f := newFleet(t, 6, cluster.Options{})
	const perRound = 100
	key := func(i int) []byte { return fmt.Appendf(nil, "moved-%d", i) }
	var slowest time.Duration
	for turn := range *moves {
		sdk := f.client(client.Options{DefaultTimeout: recovery})
		for i := range perRound {
			k := key(turn*perRound + i)
			if _, err := sdk.Put(t.Context(), 0, k, k, client.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if turn%2 == 0 {
			f.KillAll()
		} else {
			f.StopAll()
		}
		f.Move(func(i int) string { return fmt.Sprintf("127.%d.%d.%d", 1+turn, 1+i, 1+os.Getpid()%250) })
		began := time.Now()
		f.StartAll(recovery)
		slowest = max(slowest, time.Since(began))
		sdk = f.client(client.Options{DefaultTimeout: recovery})
		for i := range (turn + 1) * perRound {
			if v, err := sdk.Get(t.Context(), 0, key(i)); err != nil || string(v.Value) != string(key(i)) {
				t.Fatalf("turn %d: %s is %q: %v", turn, key(i), v.Value, err)
			}
		}
	}
	say(t, "all nodes restarted at new addresses %d times, every second time by kill -9: ready after %s at most, %d keys read back each time in the end", *moves, round(slowest), *moves*perRound)
}
