package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/lightning-db/lightning/api"
)

// operation is one call of the user, over all its attempts. Owned by the calling goroutine.
type operation struct {
	name  string
	write bool
	// routed: the call is about one slot, and the leader of its shard is tried first.
	routed bool
	slot   api.Slot
	// stale: any replica of the shard may answer, so the calls are spread over all of them.
	stale bool
	// seedsFirst: the user asks the nodes that he named.
	seedsFirst bool
	// long: a value goes in chunks. An attempt takes as long as they move, and allowance is added to the
	// time of a call that has no deadline.
	long      bool
	allowance time.Duration
	silence   time.Duration // how long a long call may rest, if that is more than longSilence
	watch     *watch        // of the attempt under way
	// again reports whether the call can be made once more; nil is always.
	again func() bool
	// pinned, when set, is where the next attempt goes, whatever the map says.
	pinned *connection

	turn       uint64 // of rotate, 0 before it is needed: one for all attempts
	attempts   int
	timeouts   int
	inARow     int            // redirects without another kind of failure between them
	redirects  int            // in all
	failed     map[string]int // attempts that failed, by address; nil while there are none
	mayHaveRun bool           // some attempt may have run (K1)
	last       *api.Error     // why the last attempt failed
}

const (
	backoffBase = 10 * time.Millisecond
	backoffMax  = 250 * time.Millisecond // an election takes a few of these

	// maxRedirects bounds the better places that are tried at once. Two nodes that name each
	// other would otherwise keep a caller spinning.
	maxRedirects = 2

	// longSilence is how long the chunks of a value may rest before another node is tried: what was sent
	// is lost then, so it is more patient than other calls are.
	longSilence = 5 * time.Second

	// longPace is the time that a call without a deadline gets for each MiB of a value, on top.
	longPace = time.Second
)

// errOnce ends a call that would have to send what it cannot read again.
var errOnce = errors.New("the value's reader cannot go back, so it cannot be sent again")

// do makes attempts until one succeeds, one fails for good, or ctx ends, and reports the call.
func (c *Client) do(ctx context.Context, op *operation, try attempt) error {
	if c.opts.Observe == nil {
		return c.run(ctx, op, try)
	}
	begun := c.opts.Clock.Now()
	err := c.run(ctx, op, try)
	c.opts.Observe(op.event(err, c.opts.Clock.Now().Sub(begun)))
	return err
}

func (c *Client) run(ctx context.Context, op *operation, try attempt) error {
	if err := c.calls.enter(); err != nil {
		return err
	}
	defer c.calls.leave()
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.opts.DefaultTimeout+op.allowance)
		defer cancel()
	}
	for ctx.Err() == nil {
		to, err := c.choose(op)
		if err != nil {
			return op.giveUp(err)
		}
		v := c.attempt(ctx, op, to, try)
		if v == nil {
			return nil
		}
		if !v.retry {
			return op.finalError(v)
		}
		if op.again != nil && !op.again() {
			return op.giveUp(errOnce)
		}
		if err := c.pause(ctx, op, c.learn(op, to, v)); err != nil {
			return op.giveUp(err)
		}
	}
	return op.giveUp(ctx.Err())
}

// attempt makes one attempt and returns nil when it succeeded.
func (c *Client) attempt(ctx context.Context, op *operation, to *connection, try attempt) *verdict {
	attemptCtx, cancel := c.limited(ctx, op)
	defer cancel()
	begun := c.opts.Clock.Now()
	var p peer.Peer // gRPC fills it in when it has a stream to send the request on
	err := try(attemptCtx, to, callOptions{grpc.Peer(&p)})
	op.attempts++
	if err == nil {
		to.trust()
		if op.routed && op.stale {
			now := c.opts.Clock.Now()
			to.pace.note(now.Sub(begun), now)
		}
		return nil
	}
	var streamed *streamError
	sent := p.Addr != nil || errors.As(err, &streamed) && streamed.sent
	v := judge(err, op.write, sent)
	op.last = v.err
	op.mayHaveRun = op.mayHaveRun || v.mayHaveRun
	if attemptCtx.Err() != nil && ctx.Err() == nil {
		op.timeouts++
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		v.unreachable = false // the caller lost interest, the node may be well
	}
	return &v
}

// limited gives an attempt its time.
func (c *Client) limited(ctx context.Context, op *operation) (context.Context, context.CancelFunc) {
	limit := c.opts.AttemptTimeout << min(op.timeouts, 10)
	if !op.long {
		return context.WithTimeout(ctx, limit)
	}
	ctx, cancel := context.WithCancel(ctx)
	w := newWatch(max(limit, longSilence, op.silence), cancel)
	op.watch = w
	return ctx, func() { w.stop(); cancel() }
}

// learn draws the conclusions for the next attempt, of this and of other calls, and returns
// whether a better place is known, so that there is nothing to wait for.
func (c *Client) learn(op *operation, to *connection, v *verdict) (redirected bool) {
	if op.failed == nil {
		op.failed = make(map[string]int)
	}
	op.failed[to.address]++
	if v.unreachable {
		to.suspect()
	} else {
		to.trust()
	}
	switch v.err.Code {
	case api.CodeOverloaded:
		return false // the route is right
	case api.CodeTooStale:
		return op.redirect() // another replica may be nearer to the leader
	}
	c.follower.refresh()
	if !op.routed {
		return false
	}
	t := c.router.Table()
	if t == nil {
		return false
	}
	shard := t.ShardOf(op.slot).ID
	about := v.err.Shard == shard || v.err.Shard == 0
	if v.err.Code == api.CodeNotLeader && v.err.Leader != "" && about {
		c.router.SetLeader(shard, v.err.Leader)
		return op.redirect()
	}
	op.inARow = 0
	if leader, ok := c.router.Leader(shard); ok && c.addressOf(leader) == to.address {
		c.router.ForgetLeader(shard)
	}
	return false
}

// redirect counts a better place that is known, and reports whether to go there at once.
func (op *operation) redirect() bool {
	if op.inARow++; op.inARow > maxRedirects {
		return false
	}
	op.redirects++
	return true
}

// pause waits before the next attempt. It fails when ctx ends or the client is closed.
func (c *Client) pause(ctx context.Context, op *operation, redirected bool) error {
	select {
	case <-c.closing:
		return errClosed()
	default:
	}
	if redirected {
		return nil
	}
	timer := time.NewTimer(c.backoff(op.attempts))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.closing:
		return errClosed()
	}
}

// backoff doubles with the attempts and has jitter in its upper half, so that callers that
// failed together do not come back together.
func (c *Client) backoff(attempts int) time.Duration {
	d := min(backoffBase<<min(attempts-1, 10), backoffMax)
	random, err := c.opts.entropySource().Uint64()
	if err != nil {
		return d
	}
	return d/2 + time.Duration(random%uint64(d/2))
}

// finalError is the error of a call whose last attempt cannot be repeated with success.
func (op *operation) finalError(v *verdict) error {
	if op.mayHaveRun && !v.mayHaveRun && (v.local || !answersTheRequest(v.err.Code)) {
		// The last attempt was refused, an earlier one may have run.
		return op.unknown(v.err)
	}
	return v.err
}

// giveUp is the error of a call that ends before its outcome is known, because of cause.
func (op *operation) giveUp(cause error) error {
	if op.mayHaveRun {
		return op.unknown(cause)
	}
	code, why := api.CodeExpired, "nothing was executed"
	if errors.Is(cause, api.ErrShuttingDown) {
		code = api.CodeShuttingDown
	}
	if op.last != nil {
		why = op.last.Error()
		if code == api.CodeExpired {
			code = lastingCode(op.last.Code)
		}
	}
	return &api.Error{
		Code: code, Cause: contextCause(cause),
		Message: fmt.Sprintf("%s: %v after %d attempts: %s", op.name, cause, op.attempts, why),
	}
}

// lastingCode is what a refusal means after retries did not help: a leader that cannot be found
// is no leader.
func lastingCode(c api.Code) api.Code {
	if c == api.CodeNotLeader || c == api.CodeStaleMap {
		return api.CodeUnavailable
	}
	return c
}

// unknown is the error of a write that may have run.
func (op *operation) unknown(cause error) error {
	message := fmt.Sprintf("%s: %v after %d attempts; it may or may not have been executed", op.name, cause, op.attempts)
	if op.last != nil && cause != error(op.last) {
		message += ": " + op.last.Error()
	}
	return &api.Error{Code: api.CodeUnknownOutcome, Message: message, Cause: contextCause(cause)}
}

// contextCause keeps errors.Is(err, context.DeadlineExceeded) and its like true, and every other
// error out of the chain: an error has one code, and a second one below it would match too.
func contextCause(cause error) error {
	if errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return nil
}

// watch ends an attempt at which nothing moves. A long value takes as long as its network does, so such an
// attempt has no limit of its own but this. Used by one goroutine.
type watch struct {
	timer *time.Timer
	limit time.Duration
}

// newWatch cancels an attempt when nothing has moved for limit. It must be stopped.
func newWatch(limit time.Duration, cancel context.CancelFunc) *watch {
	return &watch{timer: time.AfterFunc(limit, cancel), limit: limit}
}

// moved begins the wait anew.
func (w *watch) moved() { w.timer.Reset(w.limit) }

// aside runs what is not the node's to wait for: the caller's reader or writer.
func (w *watch) aside(do func()) {
	w.timer.Stop()
	do()
	w.timer.Reset(w.limit)
}

func (w *watch) stop() { w.timer.Stop() }
