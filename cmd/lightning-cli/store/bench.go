package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/engine"
)

// benchFlags are bench's own flags.
type benchFlags struct {
	keys, valueBytes int
	duration         time.Duration
	keep             bool
}

// benchStep is the result of one step.
type benchStep struct {
	Name      string  `json:"step"`
	Count     int     `json:"count"`
	PerSecond float64 `json:"per_second"`
	Micros    float64 `json:"mean_us"`
}

func (v *verbs) bench() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench DIR",
		Short: "Measure puts, gets and scans in a store made for that",
		Long: "Make a store in a directory that must not exist, put, get and scan in it with one worker, each for --duration at\n" +
			"most, and remove the directory, unless --keep is given. It tells what this machine and this disk do for one\n" +
			"caller, not what the engine can do: docs/benchmarks.md compares engines.",
		Args: v.Arguments(1, 1, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := engine.ParseProfile(v.profile)
			switch {
			case err != nil:
				return v.Usage("--profile: %w", err)
			case f.keys < 1 || f.keys > 10_000_000 || f.valueBytes < 0 || f.valueBytes > 1<<20:
				return v.Usage("--keys is 1 to 10,000,000 and --value-bytes up to 1 MiB")
			case f.duration <= 0 || f.duration > time.Minute:
				return v.Usage("--duration is up to 1m")
			}
			if _, err := os.Lstat(args[0]); err == nil {
				return v.Usage("%s exists, and bench would remove it", args[0])
			}
			if err := embedded(args[0]); err != nil {
				return err
			}
			err = with(args[0], p.Options(), func(db *engine.DB) error { return v.measure(cmd.Context(), db, f) })
			if !f.keep {
				if removeErr := os.RemoveAll(args[0]); err == nil && removeErr != nil {
					err = fmt.Errorf("remove what was made: %w", removeErr)
				}
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&f.keys, "keys", 100_000, "how many different keys")
	flags.IntVar(&f.valueBytes, "value-bytes", 100, "size of a value")
	flags.DurationVar(&f.duration, "duration", 2*time.Second, "of each step, at most 1m")
	flags.BoolVar(&f.keep, "keep", false, "leave the store there")
	v.addProfile(cmd)
	return cmd
}

// measure runs the steps, one after another.
func (v *verbs) measure(ctx context.Context, db *engine.DB, f benchFlags) error {
	random := rand.New(rand.NewPCG(1, 1))
	value := make([]byte, f.valueBytes)
	b := db.NewBatch()
	key := make([]byte, 8)
	draw := func() []byte {
		binary.BigEndian.PutUint64(key, random.Uint64N(uint64(f.keys)))
		return key
	}
	steps := []struct {
		name string
		do   func() error
	}{
		{"put", func() error {
			b.Put(draw(), value, 0, 0)
			return db.Apply(b)
		}},
		{"put, batches of 100", func() error {
			for range 100 {
				b.Put(draw(), value, 0, 0)
			}
			return db.Apply(b)
		}},
		{"get", func() error {
			_, _, err := db.Get(draw(), engine.MaxVersion)
			return err
		}},
		{"scan of 100", func() error { return walk(db, draw()) }},
	}
	for _, step := range steps {
		count, end := v.Progress("operations")
		n, start := 0, time.Now()
		var err error
		for ; err == nil && ctx.Err() == nil && time.Since(start) < f.duration; n++ {
			err = step.do()
			count(1, 0)
		}
		took := since(start)
		end()
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := v.printStep(benchStep{step.name, n, float64(n) / took.Seconds(), took.Seconds() / float64(max(n, 1)) * 1e6}); err != nil {
			return err
		}
	}
	return nil
}

func walk(db *engine.DB, from []byte) error {
	s := db.Snapshot()
	defer s.Close()
	it := s.NewIterator(engine.IteratorOptions{Start: from})
	n := 0
	for ok := it.First(); ok && n < 100; ok = it.Next() {
		n++
	}
	return it.Close()
}

func (v *verbs) printStep(s benchStep) error {
	if v.JSON() {
		return v.PrintJSON(s)
	}
	return v.Printf("%-20s %10.0f/s  %8.1f µs each\n", s.Name, s.PerSecond, s.Micros)
}
