package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/lightning-db/lightning/engine/cachesim"
)

// sizes are the capacities, in hundredths of the data.
var sizes = []int{1, 10, 50}

func main() {
	keys := flag.Int("keys", 1_000_000, "how many keys there are")
	reads := flag.Int("reads", 10_000_000, "how many reads a trace has")
	seed := flag.Uint64("seed", 1, "of the traces")
	flag.Parse()
	if *keys < 1000 || *reads < *keys || *keys > 1<<27 || *reads > 1<<30 {
		fmt.Fprintln(os.Stderr, "bench/caches: -keys must be between 1000 and 2^27, -reads between that and 2^30")
		os.Exit(1)
	}
	fmt.Printf("%d keys, %d reads, seed %d. Shares of hits in percent.\n", *keys, *reads, *seed)
	for _, size := range sizes {
		printTable(size, *keys, *reads, *seed)
	}
}

// printTable measures caches of one size.
func printTable(size, keys, reads int, seed uint64) {
	capacity := keys * size / 100
	traces := []func() cachesim.Trace{
		func() cachesim.Trace { return cachesim.Zipf(seed, keys, reads) },
		func() cachesim.Trace { return cachesim.ScanMixed(seed, keys, reads) },
		func() cachesim.Trace { return cachesim.Loop(keys, reads, capacity) },
		func() cachesim.Trace { return cachesim.Shifting(seed, keys, reads) },
	}
	kinds := append(cachesim.Kinds(), cachesim.Kind{Name: "W-TinyLFU (otter)", New: newTinyLFU})
	rows := make([]string, len(traces))
	var running sync.WaitGroup
	for i, trace := range traces {
		running.Go(func() { rows[i] = measure(trace(), kinds, capacity) })
	}
	running.Wait()
	fmt.Printf("\n| a cache of %d %% |", size)
	for _, k := range kinds {
		fmt.Printf(" %s |", k.Name)
	}
	fmt.Printf(" known popularities | optimum |\n|---|%s\n", strings.Repeat("--:|", len(kinds)+2))
	fmt.Print(strings.Join(rows, ""))
}

// measure gives the row of a trace.
func measure(t cachesim.Trace, kinds []cachesim.Kind, capacity int) string {
	var row strings.Builder
	fmt.Fprintf(&row, "| %s |", t.Name)
	for _, k := range kinds {
		fmt.Fprintf(&row, " %.2f |", 100*cachesim.Run(t, k.New(capacity, t.Keys)))
	}
	fmt.Fprintf(&row, " %.2f | %.2f |\n", 100*cachesim.Hindsight(t, capacity), 100*cachesim.Optimum(t, capacity))
	return row.String()
}
