package main

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	drawEvery = 250 * time.Millisecond // on a terminal, where one line is drawn again and again
	lineEvery = 5 * time.Second        // in a log
)

// progress says on stderr how far a long command is. Count may be called by many at once.
type progress struct {
	w        io.Writer
	unit     string // of what is counted; empty when only bytes are
	terminal bool
	items    atomic.Uint64
	bytes    atomic.Uint64
	stop     chan struct{}
	stopped  sync.WaitGroup
}

func (a *app) newProgress(unit string) *progress {
	return &progress{w: a.stderr, unit: unit, terminal: a.stderrTerminal, stop: make(chan struct{})}
}

// startProgress starts a goroutine, which end stops.
func (a *app) startProgress(unit string) *progress {
	p := a.newProgress(unit)
	p.start()
	return p
}

func (p *progress) start() { p.stopped.Go(p.printLoop) }

// count adds what is done.
func (p *progress) count(items, bytes int) {
	p.items.Add(uint64(items))
	p.bytes.Add(uint64(bytes))
}

// end takes the line off the terminal and waits for the goroutine.
func (p *progress) end() {
	close(p.stop)
	p.stopped.Wait()
}

func (p *progress) printLoop() {
	every := lineEvery
	if p.terminal {
		every = drawEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	began, before, drawn := time.Now(), uint64(0), false
	for {
		select {
		case <-p.stop:
			if drawn && p.terminal {
				_, _ = fmt.Fprint(p.w, "\r\x1b[K")
			}
			return
		case <-tick.C:
			now := p.items.Load()
			if p.unit == "" {
				now = p.bytes.Load()
			}
			p.print(now, float64(now-before)/every.Seconds(), time.Since(began))
			before, drawn = now, true
		}
	}
}

// print writes one line. A stderr that is closed is nobody's loss.
func (p *progress) print(count uint64, rate float64, took time.Duration) {
	line := fmt.Sprintf("%d %s, %.0f/s", count, p.unit, rate)
	if p.unit == "" {
		line = fmt.Sprintf("%s, %s/s", byteText(count), byteText(uint64(rate)))
	} else if bytes := p.bytes.Load(); bytes > 0 {
		line += ", " + byteText(bytes)
	}
	line += ", " + took.Truncate(time.Second).String()
	if p.terminal {
		_, _ = fmt.Fprintf(p.w, "\r%s\x1b[K", line)
		return
	}
	_, _ = fmt.Fprintln(p.w, line)
}

func byteText(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	size, unit := float64(n), 0
	for size >= 1024 && unit < len(units)-1 {
		size, unit = size/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", size, units[unit])
}

// countingReader tells a progress of what is read, and remembers why it failed: that is not the store's
// failure.
type countingReader struct {
	io.Reader
	to     *progress
	failed error
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.to.count(0, n)
	if err != nil && !errors.Is(err, io.EOF) {
		c.failed = fmt.Errorf("read the value: %w", err)
	}
	return n, err
}

// Seek implements io.Seeker, and fails for what cannot go back.
func (c *countingReader) Seek(offset int64, whence int) (int64, error) {
	if seeker, ok := c.Reader.(io.Seeker); ok {
		return seeker.Seek(offset, whence)
	}
	return 0, errors.ErrUnsupported
}

// countingWriter is a countingReader's twin for what is written.
type countingWriter struct {
	io.Writer
	to     *progress
	failed error
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.to.count(0, n)
	if err != nil {
		c.failed = fmt.Errorf("write the value: %w", err)
	}
	return n, err
}
