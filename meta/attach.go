package meta

import "context"

// attached is a meta replica that a Follower listens to.
type attached struct {
	meta *Meta
	stop context.CancelFunc
	done chan struct{} // closed when the loop has ended
}

// Attach has the follower listen to a meta replica that was opened here, until Detach or Close. Attach and Detach are called from one
// goroutine at a time, after Start.
func (f *Follower) Attach(local *Meta) {
	f.Detach()
	ctx, stop := context.WithCancel(f.ctx)
	a := &attached{meta: local, stop: stop, done: make(chan struct{})}
	f.local.Store(a)
	f.loops.Go(func() {
		defer close(a.done)
		f.followLocalLoop(ctx, local)
	})
}

// Detach ends what Attach began. It does not close the replica.
func (f *Follower) Detach() {
	if a := f.local.Swap(nil); a != nil {
		a.stop()
		<-a.done
	}
}

func (f *Follower) followLocalLoop(ctx context.Context, local *Meta) {
	for {
		m, err := local.Wait(ctx, f.Map().GetRevision())
		if err != nil {
			return // closing, or detached
		}
		if !f.adopt(m) {
			pause(ctx, followPause)
		}
	}
}
