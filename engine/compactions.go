package engine

import (
	"errors"
	"time"

	"github.com/lightning-db/lightning/engine/internal/levels"
)

// compactions are those that run. The compaction loop owns them: it alone picks, starts and ends, so what does not
// overlap when it is picked does not until it ends.
type compactions struct {
	db      *DB
	running []*levels.Pick
	ended   chan compacted
	manual  []chan error // who wait until it is their turn to have all compacted
	serving chan error   // the one whose compaction runs

	// The disk was full. Nothing begins before retry, or before somebody has asked for a flush since.
	retry <-chan time.Time
	asked uint64
}

// compacted is a compaction that has ended.
type compacted struct {
	pick *levels.Pick
	err  error
}

// compactLoop starts what is due whenever something changed, and removes released tables.
func (db *DB) compactLoop() {
	defer db.loops.Done()
	c := &compactions{db: db, ended: make(chan compacted)}
	db.wakeCompaction()
	for {
		select {
		case <-db.stop:
			c.stop()
			return
		case <-db.nudge:
		case <-c.retry:
			c.retry = nil
		case done := <-c.ended:
			c.end(done)
		case done := <-db.manual:
			c.manual = append(c.manual, done)
		}
		db.removeReleased()
		c.start()
	}
}

// start begins everything that is due, as far as it does not overlap and the store has not failed.
func (c *compactions) start() {
	for c.mayStart() {
		v := c.db.acquire()
		p := c.next(v.set)
		if p == nil {
			v.unref()
			return
		}
		c.running = append(c.running, p)
		if p.Reason == levels.ReasonManual {
			c.serving, c.manual = c.manual[0], c.manual[1:]
		}
		go func() { c.ended <- compacted{p, c.run(v, p)} }()
	}
}

func (c *compactions) mayStart() bool {
	if c.db.stopped() || c.db.failure() != nil {
		c.answer(c.db.failure())
		return false
	}
	if c.retry != nil && c.asked == c.db.flushesAsked() && len(c.manual) == 0 {
		return false
	}
	c.retry = nil
	return len(c.running) < c.db.options.CompactionCount
}

// next picks. Who wants all compacted waits until nothing runs, and nothing begins meanwhile.
func (c *compactions) next(s *levels.Set) *levels.Pick {
	if len(c.manual) == 0 {
		return c.db.pick(s, c.running)
	}
	if len(c.running) > 0 {
		return nil
	}
	p := s.PickAll()
	if p == nil {
		c.answer(nil)
		return c.db.pick(s, nil)
	}
	return p
}

// answer tells those who wait for their turn that there is none.
func (c *compactions) answer(err error) {
	if err == nil && c.db.stopped() {
		err = errStopped
	}
	for _, done := range c.manual {
		done <- err
	}
	c.manual = nil
}

// run does one compaction.
func (c *compactions) run(v *view, p *levels.Pick) error {
	defer v.unref()
	if !p.Move {
		if !c.db.runtime.compactions.Take(c.db.urgency(v), c.db.stop) {
			return errStopped
		}
		defer c.db.runtime.compactions.Give()
	}
	err := c.db.compact(v, p)
	if err != nil && !errors.Is(err, errStopped) && !noRoom(err) {
		return c.db.fail(err)
	}
	return err
}

// end notes the end of a compaction.
func (c *compactions) end(done compacted) {
	for i, p := range c.running {
		if p == done.pick {
			c.running = append(c.running[:i:i], c.running[i+1:]...)
			break
		}
	}
	switch {
	case done.err == nil:
		c.db.foundRoom(&c.db.mu.full.compaction)
	case noRoom(done.err):
		done.err = asFull(done.err)
		c.db.foundFull(&c.db.mu.full.compaction, done.err)
		c.retry, c.asked = time.After(retryInterval), c.db.flushesAsked()
	}
	if done.pick.Reason == levels.ReasonManual {
		c.serving <- done.err
	}
}

// stop waits for what runs, which stops soon.
func (c *compactions) stop() {
	for len(c.running) > 0 {
		c.end(<-c.ended)
	}
	c.answer(errStopped)
}
