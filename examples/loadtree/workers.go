package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// progress counts what is done and prints it now and then.
type progress struct {
	verb  string
	total int
	out   io.Writer
	begin time.Time
	files atomic.Int64
	bytes atomic.Int64
}

// progressEvery is often enough to see that it goes on, and seldom enough for a log.
const progressEvery = 2 * time.Second

func newProgress(verb string, total int, out io.Writer) *progress {
	return &progress{verb: verb, total: total, out: out, begin: time.Now()}
}

func (p *progress) print() {
	_, _ = fmt.Fprintf(p.out, "%-7s %d of %d files, %s in %s\n",
		p.verb, p.files.Load(), p.total, megabytes(p.bytes.Load()), seconds(p.begin))
}

// printLoop prints until stop is closed.
func (p *progress) printLoop(stop <-chan struct{}) {
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.print()
		case <-stop:
			return
		}
	}
}

// failures keeps the first few errors and the number of all.
type failures struct {
	sync.Mutex
	count int
	first []error
}

const maxShownFailures = 5

func (f *failures) add(err error) {
	f.Lock()
	defer f.Unlock()
	f.count++
	if len(f.first) < maxShownFailures {
		f.first = append(f.first, err)
	}
}

// error is nil when nothing failed.
func (f *failures) error(step string) error {
	if f.count == 0 {
		return nil
	}
	return fmt.Errorf("%s: %d files failed, the first: %v", step, f.count, f.first)
}

// forEach does work for every file in some workers, and counts. Files that ctx leaves undone
// count as failed, so that every file of the list is counted.
func forEach(ctx context.Context, workers int, files []*file, p *progress, work func(*file) (int, error)) *failures {
	failed := &failures{}
	queue := make(chan *file)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for f := range queue {
				size, err := work(f)
				if err != nil {
					failed.add(err)
				}
				p.files.Add(1)
				p.bytes.Add(int64(size))
			}
		})
	}
	stop := make(chan struct{})
	var printer sync.WaitGroup
	printer.Go(func() { p.printLoop(stop) })
	for _, f := range files {
		select {
		case queue <- f:
		case <-ctx.Done():
			failed.add(ctx.Err())
		}
	}
	close(queue)
	group.Wait()
	close(stop)
	printer.Wait()
	return failed
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

func seconds(since time.Time) string { return fmt.Sprintf("%.1f s", time.Since(since).Seconds()) }
