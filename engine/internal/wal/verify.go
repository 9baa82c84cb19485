package wal

import (
	"context"
	"fmt"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
)

// Verify reads what is written of every segment that is needed. The first damage is returned as a corrupt.Error. Writers
// wait while one segment is read, not while all are.
func (l *Log) Verify(ctx context.Context) error {
	for after := uint64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		number, err := l.verifyAfter(after)
		if err != nil || number == 0 {
			return err
		}
		after = number
	}
}

// verifyAfter reads the first segment of a higher number, as who leads: so it is neither written to nor used again
// meanwhile. It returns its number, 0 if there is none.
func (l *Log) verifyAfter(number uint64) (uint64, error) {
	var w Waiter
	leads, err := l.await(everything, &w)
	if !leads {
		return 0, err
	}
	defer l.handOver()
	var s *segment
	l.mu.Lock()
	for _, other := range l.mu.segments {
		if other.number > number {
			s = other
			break
		}
	}
	l.mu.Unlock()
	if s == nil {
		return 0, nil
	}
	end := s.end
	if s == l.current {
		end = l.written
	}
	return s.number, l.verify(s, end)
}

// verify reads the records of a segment up to end.
func (l *Log) verify(s *segment, end int64) error {
	b, err := readFile(l.options.FS, l.options.Dir, s.name)
	if err != nil {
		return err
	}
	if h, err := decodeHeader(s.name, b); err != nil || h != s.header {
		return corrupt.Shape(s.name, 0, "header", fmt.Sprintf("that of segment %d", s.number), "another one or none")
	}
	for at := int64(dataStart); at < end; {
		if at >= int64(len(b)) {
			return corrupt.Shape(s.name, at, "length of file", fmt.Sprintf("%d or more", end), len(b))
		}
		r, ok := s.id.decode(b, at)
		if !ok {
			return corrupt.Shape(s.name, at, "record", "one", "none")
		}
		at = r.end()
	}
	return nil
}
