package engine

import (
	"flag"
	"runtime/debug"
	"testing"

	"go.uber.org/goleak"
)

// How much the long tests do. The defaults are what CI has time for; `make chaos` gives the full figures.
var (
	crashPoints  = flag.Int("engine.crashes", 20_000/slower, "crash points from which a store is opened again")
	faultStride  = flag.Int("engine.every", 20*slower, "fail every so many calls to the disk of the workload, in all ways")
	damageCount  = flag.Int("engine.flips", 1000/slower, "bits to flip; a tenth as many sectors to zero and files to cut, a fiftieth as many swaps")
	metaSeeds    = flag.Int("engine.seeds", 30/min(slower, 3), "random histories that are run under all option sets")
	metaSteps    = flag.Int("engine.steps", 100, "operations of each of them")
	expiringKeys = flag.Int("engine.expiring", 20_000/min(slower, 4), "keys that expire within a minute")
	churnRounds  = flag.Int("engine.churn", 20/min(slower, 5), "how many times the data set is overwritten")
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // tens of thousands of stores are opened, each with the memory of a memtable
	goleak.VerifyTestMain(m)
}
