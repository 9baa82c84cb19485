package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// breakdown is what a system says that it has written to the disk, and where. The rest of what the disk has
// written is the file system's, and small files.
type breakdown struct {
	syncs   int64 // of the log
	records int64 // bytes of the log's records
	zeros   int64 // that new files of the log were filled with
	blocks  int64 // all that the log wrote: records, zeros, and parts of blocks that were written again
	tables  int64 // bytes of the engines' tables
}

func (b breakdown) since(before breakdown) breakdown {
	return breakdown{syncs: b.syncs - before.syncs, records: b.records - before.records, zeros: b.zeros - before.zeros,
		blocks: b.blocks - before.blocks, tables: b.tables - before.tables}
}

// explained is a running system that knows what it writes.
type explained interface {
	// written is what was written until now, without tables.
	written(ctx context.Context) (breakdown, error)
	// tables counts the bytes of tables from now on, until it is called.
	tables() (count func() int64)
}

// explanation begins to count what a system writes; the result ends that, flushes and says what it was.
func explanation(ctx context.Context, sys running, w workload) (func(flush func()) (breakdown, error), error) {
	e, ok := sys.(explained)
	if !ok || w.name != diskWorkload {
		return func(flush func()) (breakdown, error) { flush(); return breakdown{}, nil }, nil
	}
	before, err := e.written(ctx)
	if err != nil {
		return nil, err
	}
	count := e.tables()
	return func(flush func()) (breakdown, error) {
		b, err := e.written(ctx) // the log gets next to nothing from the flush
		flush()
		b.tables = count()
		return b.since(before), err
	}, nil
}

// logMetrics are the counters of a node's log.
var logMetrics = map[string]func(b *breakdown) *int64{
	"lightning_raft_log_syncs_total":        func(b *breakdown) *int64 { return &b.syncs },
	"lightning_raft_log_record_bytes_total": func(b *breakdown) *int64 { return &b.records },
	"lightning_raft_log_zero_bytes_total":   func(b *breakdown) *int64 { return &b.zeros },
	"lightning_raft_log_block_bytes_total":  func(b *breakdown) *int64 { return &b.blocks },
}

// written implements explained: the sum over the nodes.
func (l *lightning) written(ctx context.Context) (breakdown, error) {
	var b breakdown
	for _, address := range l.http {
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
		if err != nil {
			return b, err
		}
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			return b, err
		}
		err = b.addMetrics(a.Body)
		_ = a.Body.Close()
		if err != nil {
			return b, err
		}
	}
	return b, nil
}

func (b *breakdown) addMetrics(page io.Reader) error {
	lines := bufio.NewScanner(page)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if field := logMetrics[name]; field != nil {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return fmt.Errorf("metric %s: %w", name, err)
			}
			*field(b) += int64(n)
		}
	}
	return lines.Err()
}

// lookEvery is how often the directories are looked at: a table that compaction makes and removes between two looks is missed.
const lookEvery = 200 * time.Millisecond

// tables implements explained. A table is written once, under a name of its own.
func (l *lightning) tables() (count func() int64) {
	var mu sync.Mutex
	sizes := make(map[string]int64)
	look := func() (total int64) {
		mu.Lock()
		defer mu.Unlock()
		_ = filepath.WalkDir(l.dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".table") {
				return nil // it has just been removed, or is none
			}
			if info, err := d.Info(); err == nil {
				sizes[path] = max(sizes[path], info.Size())
			}
			return nil
		})
		for _, n := range sizes {
			total += n
		}
		return total
	}
	there := look()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(lookEvery):
				look()
			}
		}
	}()
	var once sync.Once
	return func() int64 {
		once.Do(func() { close(stop) })
		<-stopped
		return look() - there
	}
}

// printBreakdowns shows where the bytes on disk come from, as multiples of the user's bytes.
func (r *report) printBreakdowns(w io.Writer) {
	heading := "\n| disk bytes per user byte | all | log: records | log: zeros | log: blocks again | log | tables | rest | PUTs in a sync of one node |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n"
	for _, key := range r.order {
		m, _ := r.median(key)
		b := m.breakdown
		if b.blocks == 0 {
			continue
		}
		fmt.Fprint(w, heading)
		heading = ""
		of := func(bytes int64) float64 { return float64(bytes) / r.userBytes(m) }
		fmt.Fprintf(w, "| %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %.1f |\n", key.system, of(m.diskBytes), of(b.records), of(b.zeros),
			of(b.blocks-b.records-b.zeros), of(b.blocks), of(b.tables), of(m.diskBytes-b.blocks-b.tables), 3*float64(m.ops)/float64(max(b.syncs, 1)))
	}
}

// userBytes are those of the keys and values that were put.
func (r *report) userBytes(m row) float64 {
	return float64(max(m.ops, 1) * int64(r.settings.valueBytes+len(keyOf(0))))
}
