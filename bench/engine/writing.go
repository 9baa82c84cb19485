package main

import "fmt"

// writes is a workload that only writes.
type writes struct {
	name       string
	keys       int
	valueBytes int
	workers    int
	writes     int // rows that are written, by all workers
	rows       int // in one group
	sorted     bool
	loaded     bool // the keys exist
	durable    bool
	entries    bool // groups are entries of a log and carry their index
}

func writing(w writes) scene {
	return scene{w.name, []string{w.name}, func(c *child) error { return c.write(w) }}
}

// write measures one workload of writes and checks what it left behind.
func (c *child) write(w writes) error {
	w.keys, w.writes = w.keys/c.settings.scale(), w.writes/c.settings.scale()
	steps := w.writes / w.workers / w.rows
	team, err := team(w.workers, steps*w.rows, w.draw)
	if err != nil {
		return err
	}
	cfg := c.config(cacheBytes)
	cfg.sync, cfg.writers = w.durable, w.workers
	st, err := c.begin(w, cfg)
	if err != nil {
		return err
	}
	if err := openSessions(st, team, w.rows, w.valueBytes); err != nil {
		return err
	}
	t := task{steps: steps, rows: w.rows, every: 1, limit: c.settings.limit, step: func(k *worker, i int) error {
		index := uint64(0)
		if w.entries {
			index = uint64(i + 1)
		}
		return k.write(i*w.rows, w.rows, index)
	}}
	if w.durable {
		t.limit = c.settings.durable
	}
	before := writtenBytes()
	got, err := c.profiled(w.name, func() (row, error) { return measure(team, t) })
	if err != nil {
		return err
	}
	got.Cut = got.Cut && !w.durable
	if w.loaded {
		if got.Amplification, err = c.amplification(st, before, got.Ops, w.valueBytes); err != nil {
			return err
		}
	}
	expected := w.expected(team)
	if err := dismiss(team); err != nil {
		return err
	}
	return c.finish(w, cfg, st, got, expected)
}

// begin opens the store as the workload wants to find it.
func (c *child) begin(w writes, cfg config) (store, error) {
	if w.loaded {
		return c.fill(cfg, w.keys, w.valueBytes)
	}
	return c.open(cfg)
}

// draw gives a worker's sequence of keys. Each key belongs to one worker, so that its last value is known.
func (w writes) draw(worker int) func(n int) (number int, stamp uint64) {
	random := randomOf(worker, 5)
	return func(n int) (int, uint64) {
		i := random.IntN(w.keys/w.workers)*w.workers + worker
		if w.sorted {
			i = n
		}
		return present(i), stampOf(present(i), uint64(n+1))
	}
}

// expected are the stamps of the values that the keys have after what the workers have done; zero for no key.
func (w writes) expected(team []*worker) []uint64 {
	stamps := make([]uint64, w.keys)
	if w.loaded {
		loadedStamps(stamps)
	}
	for _, k := range team {
		for n := range k.done * w.rows {
			stamps[keyNumber(k.stream.key(n))/2] = k.stream.stamp(n)
		}
	}
	return stamps
}

// amplification waits until the store has written what it wants to, and counts.
func (c *child) amplification(st store, before int64, rows, valueBytes int) (float64, error) {
	if c.engine.inPlace {
		return 0, nil
	}
	if err := st.flush(); err != nil {
		return 0, err
	}
	waitForQuiet()
	return float64(writtenBytes()-before) / float64(rows*(keyBytes+valueBytes)), nil
}

// finish checks the store, takes its size and says what was measured. A store that acknowledged durable writes is
// opened again before: they must be there.
func (c *child) finish(w writes, cfg config, st store, got row, expected []uint64) error {
	if w.durable {
		if err := st.Close(); err != nil {
			return err
		}
		again, err := c.open(cfg)
		if err != nil {
			return err
		}
		st = again
	}
	if err := verify(st, expected, w.valueBytes); err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	measuresSpace := w.sorted || w.loaded
	if measuresSpace {
		if err := st.settle(); err != nil {
			return err
		}
	}
	if err := st.Close(); err != nil {
		return err
	}
	if measuresSpace {
		size, err := diskBytes(c.settings.dir, c.engine.logFiles)
		if err != nil {
			return err
		}
		got.Space = float64(size) / float64(w.keys*(keyBytes+w.valueBytes))
	}
	return c.emit(w.name, got)
}
