package transfer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/lightning-db/lightning/api"
)

// Writer is what an import writes to; *client.Client implements it.
type Writer interface {
	Apply(ctx context.Context, b api.Batch) (api.Result, error)
}

// ImportOptions are the settings of an import.
type ImportOptions struct {
	// IfAbsent leaves keys alone that exist.
	IfAbsent bool
	// Workers is how many batches are applied at a time, at least 1.
	Workers int
	// Group tells which keys can share a batch: those of one shard. It is a hint; what it says must
	// not change during the import.
	Group func(key []byte) uint64
	// Bad is told of lines that were not written because of what is in them. It is called by
	// several goroutines, one at a time.
	Bad func(line uint64, err error)
	// Progress is told of lines that are done and their bytes. It must be quick and safe for
	// concurrent use. Nil: nobody is told.
	Progress func(lines, bytes int)
}

// Imported counts what became of the lines.
type Imported struct {
	Lines   uint64 `json:"lines"`
	Written uint64 `json:"written"`
	// Existing keys were left alone because of IfAbsent.
	Existing uint64 `json:"existing"`
	// Bad lines cannot be read or hold what the store refuses.
	Bad uint64 `json:"bad"`
	// Open lines are those that were read when the import stopped. They may be written or not.
	Open uint64 `json:"open"`
}

const (
	batchLines = 256
	batchBytes = 1 << 20

	// pendingBytes bounds the batches that are not full yet, all shards together, and workingBytes those that
	// the workers have. One batch of each kind may be longer if it is alone.
	pendingBytes = 32 << 20
	workingBytes = 128 << 20
)

type numbered struct {
	line  uint64
	bytes int // of the line
	item  api.Item
}

type batch struct {
	lines []numbered
	bytes int
}

// importer is one import.
type importer struct {
	// Set before the workers start.
	to      Writer
	options ImportOptions
	queues  []chan batch // one for each worker
	ctx     context.Context
	stop    context.CancelCauseFunc

	// Owned by the goroutine that reads.
	pending      map[uint64]*batch
	pendingBytes int

	mu struct {
		sync.Mutex
		done Imported
	}

	// working is the bytes of the batches that the workers have.
	working struct {
		sync.Mutex
		bytes int
		less  chan struct{} // capacity 1
	}
}

// Import reads lines and writes what they say. The error is nil when every line was read and
// each was written, was there, or was bad.
func Import(ctx context.Context, to Writer, r io.Reader, o ImportOptions) (Imported, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	i := &importer{to: to, options: o, ctx: ctx, stop: stop, pending: make(map[uint64]*batch)}
	i.working.less = make(chan struct{}, 1)
	var workers sync.WaitGroup
	for range o.Workers {
		queue := make(chan batch)
		i.queues = append(i.queues, queue)
		workers.Go(func() { i.work(queue) })
	}
	lines, err := i.read(r)
	for _, queue := range i.queues {
		close(queue)
	}
	workers.Wait()
	i.mu.Lock()
	defer i.mu.Unlock()
	done := &i.mu.done
	done.Lines = lines
	done.Open = lines - done.Written - done.Existing - done.Bad
	if cause := context.Cause(ctx); cause != nil {
		err = cause // why the reading stopped, too
	}
	if err != nil {
		return *done, fmt.Errorf("import stopped, of %d lines read %d are written: %w", lines, done.Written, err)
	}
	return *done, nil
}

// read reads all lines and hands them to the workers.
func (i *importer) read(r io.Reader) (lines uint64, err error) {
	in := bufio.NewReaderSize(r, bufferBytes)
	var buffer []byte
	for i.ctx.Err() == nil {
		text, err := readLine(in, &buffer)
		if errors.Is(err, io.EOF) {
			return lines, i.flushAll()
		}
		if err != nil && !errors.Is(err, errLongLine) {
			return lines, fmt.Errorf("read line %d: %w", lines+1, err)
		}
		lines++
		if err != nil {
			i.bad(numbered{line: lines}, err)
			continue
		}
		item, err := parseLine(text)
		if err != nil {
			i.bad(numbered{line: lines, bytes: len(text)}, err)
			continue
		}
		if err := i.add(numbered{lines, len(text), item}); err != nil {
			return lines, err
		}
	}
	return lines, i.ctx.Err()
}

func (i *importer) bad(n numbered, err error) {
	i.mu.Lock()
	i.mu.done.Bad++
	if i.options.Bad != nil {
		i.options.Bad(n.line, err)
	}
	i.mu.Unlock()
	i.progress(1, n.bytes)
}

func (i *importer) progress(lines, bytes int) {
	if i.options.Progress != nil {
		i.options.Progress(lines, bytes)
	}
}

// add puts a line into the batch of its shard, after sending what it would make too large.
func (i *importer) add(n numbered) error {
	group := i.options.Group(n.item.Key)
	size := len(n.item.Key) + len(n.item.Value)
	b := i.pending[group]
	if b != nil && (len(b.lines) == batchLines || b.bytes+size > batchBytes) {
		if err := i.flush(group); err != nil {
			return err
		}
		b = nil
	}
	if i.pendingBytes+size > pendingBytes {
		if err := i.flushAll(); err != nil {
			return err
		}
		b = nil
	}
	if b == nil {
		b = &batch{}
		i.pending[group] = b
	}
	b.lines = append(b.lines, n)
	b.bytes += size
	i.pendingBytes += size
	return nil
}

func (i *importer) flushAll() error {
	for group := range i.pending {
		if err := i.flush(group); err != nil {
			return err
		}
	}
	return nil
}

// flush hands a batch to the worker of its group and waits until it is taken: a slow store slows
// the reading down.
func (i *importer) flush(group uint64) error {
	b := i.pending[group]
	delete(i.pending, group)
	i.pendingBytes -= b.bytes
	if err := i.begin(b.bytes); err != nil {
		return err
	}
	select {
	case i.queues[group%uint64(len(i.queues))] <- *b:
		return nil
	case <-i.ctx.Done():
		return i.ctx.Err()
	}
}

// begin waits until the workers may have so many bytes more. Only the reader calls it.
func (i *importer) begin(bytes int) error {
	for {
		i.working.Lock()
		room := i.working.bytes == 0 || i.working.bytes+bytes <= workingBytes
		if room {
			i.working.bytes += bytes
		}
		i.working.Unlock()
		if room {
			return nil
		}
		select {
		case <-i.working.less:
		case <-i.ctx.Done():
			return i.ctx.Err()
		}
	}
}

func (i *importer) end(bytes int) {
	i.working.Lock()
	i.working.bytes -= bytes
	i.working.Unlock()
	select {
	case i.working.less <- struct{}{}:
	default:
	}
}

func (i *importer) work(queue <-chan batch) {
	for b := range queue {
		if i.ctx.Err() != nil {
			continue // the reader must not wait for ever
		}
		if err := i.apply(b.lines); err != nil {
			i.stop(err)
		}
		i.end(b.bytes)
	}
}

// apply writes some lines of one group, together if that is possible.
func (i *importer) apply(lines []numbered) error {
	result, err := i.to.Apply(i.ctx, i.batch(lines))
	code := api.CodeOf(err)
	switch {
	case err == nil:
		return i.count(lines, result)
	case len(lines) > 1 && (code == api.CodeCrossShard || isRefusal(code)):
		for n := range lines {
			if err := i.apply(lines[n : n+1]); err != nil {
				return err
			}
		}
		return nil
	case isRefusal(code):
		i.bad(lines[0], err)
		return nil
	}
	return err
}

// isRefusal reports whether the store refuses what a line holds.
func isRefusal(c api.Code) bool { return c == api.CodeInvalid || c == api.CodeTooLarge }

func (i *importer) batch(lines []numbered) api.Batch {
	// One that is alone needs no memory of the node for the whole of its value.
	b := api.Batch{Independent: len(lines) > 1, Ops: make([]api.Op, len(lines))}
	for n, l := range lines {
		op := api.Op{Kind: api.OpPut, Key: l.item.Key, Value: l.item.Value}
		if l.item.ExpiryMillis != 0 {
			op.Expiry = api.Expiry{Mode: api.ExpiryAt, Millis: l.item.ExpiryMillis}
		}
		if i.options.IfAbsent {
			op.Condition = api.Condition{Kind: api.ConditionAbsent}
		}
		b.Ops[n] = op
	}
	return b
}

// count takes the results of a batch. In an independent one each line succeeds or fails for itself.
func (i *importer) count(lines []numbered, result api.Result) error {
	bytes := 0
	i.mu.Lock()
	defer i.mu.Unlock()
	for n, l := range lines {
		bytes += l.bytes
		switch r := result.Ops[n]; {
		case r.Code != "":
			return api.Errorf(r.Code, "line %d was refused", l.line)
		case r.Applied:
			i.mu.done.Written++
		default:
			i.mu.done.Existing++
		}
	}
	i.progress(len(lines), bytes)
	return nil
}
