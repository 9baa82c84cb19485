package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// reading is a filled store that workloads read from.
type reading struct {
	child      *child
	store      store
	keys       int
	valueBytes int
}

// read fills a store, checks it, which also warms it, and runs workloads on it.
func (c *child) read(keys, valueBytes, cache int, run func(r *reading) error) error {
	r := &reading{child: c, keys: keys / c.settings.scale(), valueBytes: valueBytes}
	var err error
	if r.store, err = c.fill(c.config(cache), r.keys, valueBytes); err != nil {
		return err
	}
	expected := make([]uint64, r.keys)
	loadedStamps(expected)
	if err := verify(r.store, expected, valueBytes); err != nil {
		return err
	}
	if err := run(r); err != nil {
		return err
	}
	return r.store.Close()
}

// loadedStamps are those of the load.
func loadedStamps(stamps []uint64) {
	for i := range stamps {
		stamps[i] = stampOf(present(i), 0)
	}
}

func (c *child) mainReads() error {
	return c.read(mainKeys, mainValue, cacheBytes, func(r *reading) error {
		steps := 500_000 / c.settings.scale()
		for _, w := range []struct {
			name    string
			workers int
			steps   int
			draw    func(random *rand.Rand) int
			step    func(w *worker, i int) error
		}{
			{"get-uniform", workers, steps, r.uniform, getPresent},
			{"get-zipf", workers, steps, r.zipf(), getPresent},
			{"get-hot", 1, 2 * steps, r.hot, getPresent},
			{"get-absent", workers, steps, func(random *rand.Rand) int { return r.uniform(random) + 1 }, getAbsent},
		} {
			if _, err := r.run(w.name, w.workers, w.draw, task{steps: w.steps, rows: 1, every: 16, step: w.step}); err != nil {
				return err
			}
		}
		if err := r.scan("scan-100", 50_000/c.settings.scale()); err != nil {
			return err
		}
		if err := r.scanAll("scan-full"); err != nil {
			return err
		}
		return r.mixed("mixed")
	})
}

func (c *child) kibReads() error {
	return c.read(kibKeys, kibValue, cacheBytes, func(r *reading) error {
		t := task{steps: 250_000 / c.settings.scale(), rows: 1, every: 16, step: getPresent}
		if _, err := r.run("kib-get", workers, r.uniform, t); err != nil {
			return err
		}
		return r.scan("kib-scan", 10_000/c.settings.scale())
	})
}

func (c *child) bigReads() error {
	return c.read(bigKeys, kibValue, bigCache, func(r *reading) error {
		t := task{steps: 100_000 / c.settings.scale(), rows: 1, every: 16, step: getPresent}
		_, err := r.run("big-get", workers, r.uniform, t)
		return err
	})
}

func (r *reading) uniform(random *rand.Rand) int { return present(random.IntN(r.keys)) }

func (r *reading) hot(random *rand.Rand) int {
	return present(random.IntN(hotKeys) % r.keys * max(r.keys/hotKeys, 1))
}

// zipf draws with the ranks spread over the keys.
func (r *reading) zipf() func(random *rand.Rand) int {
	z, order := newZipf(r.keys), shuffled(r.keys)
	return func(random *rand.Rand) int { return present(order[z.draw(random)]) }
}

// run measures a task whose records are one key for each step.
func (r *reading) run(name string, count int, draw func(*rand.Rand) int, t task) (got row, err error) {
	if !r.child.wants(name) {
		return got, nil
	}
	t.window = r.child.settings.window
	team, err := team(count, t.steps, func(worker int) func(int) (int, uint64) {
		random := randomOf(worker, 6)
		return func(int) (int, uint64) { number := draw(random); return number, stampOf(number, 0) }
	})
	if err != nil {
		return got, err
	}
	if err := openSessions(r.store, team, 1, r.valueBytes); err != nil {
		return got, err
	}
	got, err = r.child.profiled(name, func() (row, error) { return measure(team, t) })
	if err != nil {
		return got, fmt.Errorf("%s: %w", name, err)
	}
	if err := dismiss(team); err != nil {
		return got, err
	}
	if name == "get-uniform" { // everything has been read and nothing changed
		got.Resident = float64(anonymousBytes()-r.child.baseline) / float64(r.keys)
	}
	return got, r.child.emit(name, got)
}

func getPresent(w *worker, i int) error {
	value, ok, err := w.session.get(w.stream.key(i), w.buffer)
	if err != nil {
		return err
	}
	if !ok || len(value) != cap(w.buffer) || binary.LittleEndian.Uint64(value) != w.stream.stamp(i) {
		return fmt.Errorf("key %s: a value that was not written, of %d bytes", w.stream.key(i), len(value))
	}
	w.sum += binary.LittleEndian.Uint64(value)
	return nil
}

func getAbsent(w *worker, i int) error {
	_, ok, err := w.session.get(w.stream.key(i), w.buffer)
	if ok {
		return fmt.Errorf("key %s: a value that was not written", w.stream.key(i))
	}
	w.sum++
	return err
}

// scan measures scans of a hundred rows from random keys on.
func (r *reading) scan(name string, steps int) error {
	draw := func(random *rand.Rand) int { return present(random.IntN(r.keys - scanRows + 1)) }
	_, err := r.run(name, workers, draw, task{steps: steps, rows: 1, every: 1, step: func(w *worker, i int) error {
		w.seen = seen{}
		if err := w.session.scan(w.stream.key(i), scanRows, &w.seen); err != nil {
			return err
		}
		if w.seen.rows != scanRows {
			return fmt.Errorf("scan of %d rows from %s: %d rows", scanRows, w.stream.key(i), w.seen.rows)
		}
		w.sum += w.seen.sum
		return nil
	}})
	return err
}

// scanAll measures scans of everything, by rows, with one worker.
func (r *reading) scanAll(name string) error {
	first := func(*rand.Rand) int { return present(0) }
	_, err := r.run(name, 1, first, task{steps: 1, rows: r.keys, step: func(w *worker, i int) error {
		w.seen = seen{}
		if err := w.session.scan(w.stream.key(i), r.keys+1, &w.seen); err != nil {
			return err
		}
		if w.seen.rows != r.keys {
			return fmt.Errorf("scan of %d rows: %d rows", r.keys, w.seen.rows)
		}
		w.sum += w.seen.sum
		return nil
	}})
	return err
}

// mixed measures four reads to one transaction that counts the stamp of a value up, and then checks that none of
// them is lost.
func (r *reading) mixed(name string) error {
	if !r.child.wants(name) {
		return nil
	}
	const each = 5 // one transaction in so many operations
	steps := 250_000 / r.child.settings.scale()
	got, err := r.run(name, workers, r.uniform, task{steps: steps, rows: 1, every: 16, step: func(w *worker, i int) error {
		if i%each == 0 {
			return w.session.update(w.stream.key(i), countUp)
		}
		_, ok, err := w.session.get(w.stream.key(i), w.buffer)
		if err == nil && !ok {
			err = fmt.Errorf("key %s is gone", w.stream.key(i))
		}
		return err
	}})
	if err != nil {
		return err
	}
	const withWarmUp = 1
	rounds := got.Ops/(workers*steps) + withWarmUp
	return verifyCounts(r.store, r.keys, uint64(rounds*workers*(steps/each)))
}

func countUp(value []byte) {
	binary.LittleEndian.PutUint64(value, binary.LittleEndian.Uint64(value)+1)
}
