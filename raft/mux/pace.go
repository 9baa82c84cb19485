package mux

import (
	"context"
	"time"
)

// pace bounds a rate of bytes. There is one turn; who takes it for some bytes gives it back after the time
// that they may take. Who waits for it waits in the order of arrival, so that transfers share the rate.
type pace struct {
	perSecond int64
	turn      chan struct{} // capacity 1
}

func newPace(perSecond int64) *pace {
	p := &pace{perSecond: perSecond, turn: make(chan struct{}, 1)}
	p.turn <- struct{}{}
	return p
}

// wait returns when n more bytes may pass.
func (p *pace) wait(ctx context.Context, n int) error {
	select {
	case <-p.turn:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	time.AfterFunc(time.Duration(n)*time.Second/time.Duration(p.perSecond), func() { p.turn <- struct{}{} })
	return nil
}
