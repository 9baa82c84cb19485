package main

import "fmt"

// scene is a data set and the workloads that use it, in this order.
type scene struct {
	name      string
	workloads []string
	run       func(c *child) error
}

// Sizes of the data sets. The churn's data are four memtables of 64 MiB.
const (
	mainKeys   = 1_000_000
	mainValue  = 100
	kibKeys    = 400_000
	kibValue   = 1024
	bigKeys    = 1_500_000
	churnKeys  = 2_300_000
	hotKeys    = 10_000
	workers    = 2
	scanRows   = 100
	cacheBytes = 256 << 20
	bigCache   = 64 << 20
	bufferSize = 64 << 20
)

var scenes = []scene{
	writing(writes{name: "load", keys: mainKeys, valueBytes: mainValue, workers: 1, writes: mainKeys, rows: 1000, sorted: true}),
	writing(writes{name: "put", keys: mainKeys, valueBytes: mainValue, workers: workers, writes: mainKeys, rows: 1}),
	writing(writes{name: "batch-100", keys: mainKeys, valueBytes: mainValue, workers: workers, writes: mainKeys, rows: 100}),
	writing(writes{name: "durable-1", keys: mainKeys, valueBytes: mainValue, workers: 1, writes: mainKeys, rows: 1, durable: true}),
	writing(writes{name: "durable-16", keys: mainKeys, valueBytes: mainValue, workers: 16, writes: mainKeys, rows: 1, durable: true}),
	writing(writes{name: "durable-64", keys: mainKeys, valueBytes: mainValue, workers: 64, writes: mainKeys, rows: 1, durable: true}),
	writing(writes{name: "apply", keys: mainKeys, valueBytes: mainValue, workers: 1, writes: mainKeys, rows: 100, entries: true}),
	{"reads", []string{"get-uniform", "get-zipf", "get-hot", "get-absent", "scan-100", "scan-full", "mixed"}, (*child).mainReads},
	writing(writes{name: "kib-put", keys: kibKeys, valueBytes: kibValue, workers: workers, writes: kibKeys, rows: 1}),
	{"kib-reads", []string{"kib-get", "kib-scan"}, (*child).kibReads},
	{"big-reads", []string{"big-get"}, (*child).bigReads},
	writing(writes{name: "churn", keys: churnKeys, valueBytes: mainValue, workers: workers, writes: 3 * churnKeys, rows: 100, loaded: true}),
}

func (c *child) config(cache int) config {
	scale := c.settings.scale()
	return config{cacheBytes: cache / scale, bufferBytes: bufferSize / scale, writers: workers}
}

// fill loads the first keys of a data set, brings the store into its best state and opens it again: what
// is in memory then was read. The stores that change pages in place are loaded in the order of keys, which is
// their best way, the others in a random one.
func (c *child) fill(cfg config, keys, valueBytes int) (store, error) {
	st, err := c.open(cfg)
	if err != nil {
		return nil, err
	}
	err = load(st, keys, valueBytes, c.engine.inPlace)
	if err == nil {
		err = st.settle()
	}
	if closeErr := st.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return c.open(cfg)
}

func load(st store, keys, valueBytes int, sorted bool) error {
	order := func(n int) int { return n }
	if !sorted {
		shuffle := shuffled(keys)
		order = func(n int) int { return shuffle[n] }
	}
	team, err := team(1, keys, func(int) func(int) (int, uint64) {
		return func(n int) (int, uint64) { number := present(order(n)); return number, stampOf(number, 0) }
	})
	if err != nil {
		return err
	}
	const rows = 1000
	if err := openSessions(st, team, rows, valueBytes); err != nil {
		return err
	}
	for first := 0; first < keys; first += rows {
		if err := team[0].write(first, min(rows, keys-first), 0); err != nil {
			return err
		}
	}
	return dismiss(team)
}

// write writes the records from first on as one group.
func (w *worker) write(first, rows int, index uint64) error {
	g := group{keys: w.group.keys[:rows], values: w.group.values[:rows], index: index}
	for i := range rows {
		g.keys[i] = w.stream.key(first + i)
		fillValue(g.values[i], w.stream.stamp(first+i))
	}
	return w.session.write(&g)
}
