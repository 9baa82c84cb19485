package bench

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Workload says what the clients do.
type Workload string

// The workloads.
const (
	Set       Workload = "set"
	Get       Workload = "get"
	Mixed     Workload = "mixed" // four reads for one write
	Increment Workload = "incr"
)

// mixedReads of mixedAll operations of Mixed are reads.
const (
	mixedReads = 4
	mixedAll   = 5
)

// Distribution says how often each key is chosen.
type Distribution string

// The distributions.
const (
	Uniform Distribution = "uniform"
	Zipf    Distribution = "zipf"
)

// zipfExponent makes the hottest of 100,000 keys a tenth of the requests, about what caches see.
const zipfExponent = 1.1

// Upper bounds, so that a slip of a finger ends by itself.
const (
	MaxDuration   = time.Hour
	MaxCount      = 1_000_000_000
	MaxClients    = 4096
	MaxPipeline   = 4096
	MaxKeyCount   = 100_000_000
	MaxRoundBytes = 64 << 20 // of one client's round: they are in memory at once
)

// Options are the settings of a run. All but Count, WarmUp and TTL are required.
type Options struct {
	Workload     Workload
	Distribution Distribution
	Clients      int
	Pipeline     int // operations of one round
	ValueBytes   int
	KeyCount     int
	KeyPrefix    string
	// TTL makes what is written expire; 0 keeps it.
	TTL      time.Duration
	Duration time.Duration
	// Count ends the run early, when so many operations were begun; 0 leaves it to Duration.
	Count  uint64
	WarmUp time.Duration
	Seed   uint64
	// Timeout bounds one round.
	Timeout time.Duration
	// Progress is told of operations that ended, while the run lasts; it must be quick and safe
	// for concurrent use. Nil: nobody is told.
	Progress func(operations int)
}

// Validate reports every problem at once.
func (o Options) Validate() error {
	var problems []error
	within := func(name string, value, least, most int) {
		if value < least || value > most {
			problems = append(problems, fmt.Errorf("%s is %d, want %d to %d", name, value, least, most))
		}
	}
	switch o.Workload {
	case Set, Get, Mixed, Increment:
	default:
		problems = append(problems, fmt.Errorf("workload is %q, want set, get, mixed or incr", o.Workload))
	}
	if o.Distribution != Uniform && o.Distribution != Zipf {
		problems = append(problems, fmt.Errorf("distribution is %q, want uniform or zipf", o.Distribution))
	}
	within("clients", o.Clients, 1, MaxClients)
	within("pipeline", o.Pipeline, 1, MaxPipeline)
	within("value size", o.ValueBytes, 0, 8<<20)
	within("keys", o.KeyCount, 1, MaxKeyCount)
	if o.Pipeline > 0 && o.ValueBytes > MaxRoundBytes/o.Pipeline {
		problems = append(problems, fmt.Errorf("a pipeline of %d values of %d bytes has more than %d bytes", o.Pipeline, o.ValueBytes, MaxRoundBytes))
	}
	if o.Duration <= 0 || o.Duration > MaxDuration {
		problems = append(problems, fmt.Errorf("duration is %s, want up to %s", o.Duration, MaxDuration))
	}
	if o.WarmUp < 0 || o.WarmUp > MaxDuration {
		problems = append(problems, fmt.Errorf("warm-up is %s, want 0 to %s", o.WarmUp, MaxDuration))
	}
	if o.Count > MaxCount {
		problems = append(problems, fmt.Errorf("count is %d, want at most %d", o.Count, MaxCount))
	}
	if o.Timeout <= 0 {
		problems = append(problems, fmt.Errorf("timeout is %s, want more than 0", o.Timeout))
	}
	if o.TTL < 0 || o.TTL > 0 && o.TTL < time.Millisecond {
		problems = append(problems, fmt.Errorf("expiry is %s, want 1ms or more", o.TTL))
	}
	return errors.Join(problems...)
}

// reads reports whether the workload reads keys that should be there.
func (o Options) reads() bool { return o.Workload == Get || o.Workload == Mixed }

// key is the name of the n-th key.
func (o Options) key(n uint64) string {
	const width = 12
	digits := strconv.FormatUint(n, 10)
	return o.KeyPrefix + "000000000000"[:max(width-len(digits), 0)] + digits
}
