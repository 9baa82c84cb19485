package server

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/shard"
)

const (
	// maxStaging bounds the parts that this node has on their way: each is an entry of a shard's log. One
	// request has two of them, so that one is on its way while the other is applied.
	maxStaging        = 4
	maxRequestStaging = 2

	// maxStagedRequests bounds the requests of this node whose parts are being brought. A shard refuses parts of
	// more than api.MaxStagedBatches: if three nodes together began more than that on one shard, each of them
	// could wait for room that only another makes, and none would ever be complete.
	maxStagedRequests = api.MaxStagedBatches / 3

	// A sender that others wait for has its turn for senderGrace, and a second more for each senderPace bytes. Without
	// that, five clients that send next to nothing would keep all long values of a node waiting. The pace is what
	// the longest value needs to be there within maxInPartsTime, with some reserve.
	senderPace  = 1 << 20
	senderGrace = 5 * time.Second

	// roomTime is how long a part waits for room on its shard. Where it comes from larger clusters, requests wait for
	// each other's parts to go, and some have to give way.
	roomTime = 10 * time.Second

	// maxInPartsTime is what a request in parts gets at most: a shard keeps parts for two minutes.
	maxInPartsTime = 90 * time.Second

	// stagedBytesPerSecond is what a batch in parts is given time for beside Options.Timeout, if its caller
	// has set no deadline: a tenth of what a small cluster takes in.
	stagedBytesPerSecond = 2 << 20

	// maxStagings is how often the values of a request are sent again because another try of the same
	// request took their parts away: it does so once, when it gives up.
	maxStagings = 3

	// dropTime is what a request takes to have its parts dropped when it has failed. Their deadline
	// drops them later.
	dropTime = time.Second
)

// inParts are the values of a batch that go through the log in parts.
type inParts struct {
	batch api.Batch // without them
	parts []stagedPart
}

type stagedPart struct {
	key    []byte
	number uint32
	bytes  []byte
}

// inPieces reports whether a batch is too long for one piece: then its large values go in parts.
func inPieces(b *api.Batch) bool {
	bytes, large := 0, false
	for i := range b.Ops {
		op := &b.Ops[i]
		bytes += len(op.Key) + len(op.Source) + len(op.Value)
		large = large || op.MayBeStaged()
	}
	return large && bytes > api.MaxInlineBytes
}

// takeApart takes the large values of a batch out of it.
func takeApart(b api.Batch) inParts {
	p := inParts{batch: b}
	p.batch.Ops = slices.Clone(b.Ops)
	next := uint32(0)
	for i := range p.batch.Ops {
		op := &p.batch.Ops[i]
		if !op.MayBeStaged() {
			continue
		}
		op.Parts = api.PartsOf(op.Value, next)
		for n := range op.Parts.Count {
			p.parts = append(p.parts, stagedPart{op.Key, next + n, api.Part(op.Value, n)})
		}
		next += op.Parts.Count
		op.Value = nil
	}
	return p
}

// applyInParts runs a batch whose large values go through the log before it.
func (s *Server) applyInParts(ctx context.Context, command shard.Command) (api.Result, error) {
	if err := s.onOneShard(&command.Batch); err != nil {
		return api.Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, maxInPartsTime)
	defer cancel()
	command.DeadlineMillis = min(command.DeadlineMillis, s.commandDeadline(ctx))
	leave, err := s.stagingTurn(ctx)
	if err != nil {
		return api.Result{}, err
	}
	defer leave()
	p := takeApart(command.Batch)
	var res api.Result
	for range maxStagings {
		if err = s.stage(ctx, command, p.send); err != nil {
			s.unstage(ctx, command, p.parts[0].key)
			return api.Result{}, err
		}
		command.Batch = p.batch
		if res, err = s.applyCommand(ctx, write, command); api.CodeOf(err) != api.CodePartsMissing { // a wrapped one has an unknown outcome
			break
		}
	}
	if err != nil && api.Row(api.CodeOf(err)).Outcome == api.NotExecuted {
		s.unstage(ctx, command, p.parts[0].key)
	}
	return res, err
}

// stagingTurn waits until this request may bring its parts.
func (s *Server) stagingTurn(ctx context.Context) (leave func(), err error) {
	leave = func() { <-s.stagedRequests }
	select {
	case s.stagedRequests <- struct{}{}:
		return leave, nil
	default:
	}
	s.waitingToStage.Add(1)
	defer s.waitingToStage.Add(-1)
	select {
	case s.stagedRequests <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, api.Errorf(api.CodeOverloaded, "not executed: other long values were on their way all the time: %w", context.Cause(ctx))
	}
}

// paced is next of a value whose sender has a turn: it ends with an error if the sender is slow and others wait for a
// turn. Only the time in next is the sender's. A sender that is silent is noticed when next returns, for which its
// protocol has a limit of its own.
func (s *Server) paced(next func() ([]byte, error)) func() ([]byte, error) {
	var waited time.Duration
	taken := 0
	return func() ([]byte, error) {
		began := s.opts.Clock.Now()
		piece, err := next()
		if err != nil {
			return nil, err
		}
		waited += s.opts.Clock.Now().Sub(began)
		taken += len(piece)
		if s.waitingToStage.Load() > 0 && waited > senderGrace+time.Duration(taken)*time.Second/senderPace {
			return nil, api.Errorf(api.CodeOverloaded, "not executed: the value came at less than %d bytes a second while other long values waited for their turn; send it again, later or faster", senderPace)
		}
		return piece, nil
	}
}

func (p *inParts) send(_ context.Context, send func(stagedPart)) error {
	for i := range p.parts {
		send(p.parts[i])
	}
	return nil
}

// onOneShard refuses a batch before its parts are sent, if its keys live on several shards now.
func (s *Server) onOneShard(b *api.Batch) error {
	table := s.opts.Router.Table()
	if table == nil {
		return errNoMap()
	}
	if _, one := home(table, &Request{Ops: b.Ops}); !one {
		return errCrossShard()
	}
	return nil
}

// stage brings parts to their shard, under the request id of the command. each calls send for one after the
// other; a part's bytes are its own until stage has returned. This try has executed nothing when stage fails,
// whatever becomes of the parts: nobody sees them.
func (s *Server) stage(ctx context.Context, command shard.Command, each func(ctx context.Context, send func(stagedPart)) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxRequestStaging)
	cause := each(ctx, func(p stagedPart) {
		g.Go(func() error { return s.stageOne(ctx, command, p) })
	})
	err := g.Wait()
	if err == nil {
		return cause
	}
	// What the shard has forgotten may have been executed by an earlier try of the client.
	if errors.Is(err, api.ErrReleased) || api.Row(api.CodeOf(err)).Outcome == api.NotExecuted {
		return err
	}
	return api.Errorf(api.CodeUnavailable, "not executed: a part of the values was not acknowledged: %s", err.Error())
}

// stageOne sends one part in its turn. A shard that has no room for it has some when the entries before it are
// applied: it is waited for a while, because what was sent before would be lost.
func (s *Server) stageOne(ctx context.Context, command shard.Command, p stagedPart) error {
	select {
	case s.staging <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.staging }()
	room, cancel := context.WithTimeout(ctx, roomTime)
	defer cancel()
	for {
		err := s.sendStage(ctx, command, shard.Stage{Key: p.key, Number: p.number, Part: p.bytes})
		if !errors.Is(err, api.ErrOverloaded) || room.Err() != nil {
			return err
		}
	}
}

// unstage takes the parts of a request back that will not be executed. It may fail.
func (s *Server) unstage(ctx context.Context, command shard.Command, key []byte) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTime)
	defer cancel()
	command.DeadlineMillis = 0
	if err := s.sendStage(ctx, command, shard.Stage{Key: key, Drop: true}); err != nil {
		s.opts.Logger.Debug("parts of a request that failed were not dropped; they will be at its deadline", "error", err)
	}
}

func (s *Server) sendStage(ctx context.Context, command shard.Command, st shard.Stage) error {
	command.Stage, command.Batch.Ops = &st, nil
	return s.route(ctx, router.Slot(command.Batch.Namespace, st.Key), write, func(ctx context.Context, at place) error {
		command.Epoch = at.shard.Epoch
		_, err := s.apply(ctx, at, write, command)
		return err
	})
}
