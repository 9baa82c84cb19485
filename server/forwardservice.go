package server

import (
	"context"
	"errors"
	"hash/crc32"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/shard"
)

// forwardService answers what other nodes pass on. It runs requests on this node or refuses
// them (V3); it retries nothing, because who forwarded does.
type forwardService struct {
	peerv1.UnimplementedForwardServer
	server *Server
}

// ForwardService is peerv1.Forward of this node.
func (s *Server) ForwardService() peerv1.ForwardServer { return forwardService{server: s} }

// replica finds a local replica, or tells the sender to look elsewhere.
func (f forwardService) replica(id uint64) (Shard, error) {
	sh, ok := f.server.opts.Local(api.ShardID(id))
	if !ok {
		return nil, &api.Error{Code: api.CodeNotLeader, Message: "this node holds no replica of the shard", Shard: api.ShardID(id)}
	}
	return sh, nil
}

// Apply implements peerv1.ForwardServer.
func (f forwardService) Apply(ctx context.Context, req *peerv1.ForwardApplyRequest) (*peerv1.ForwardApplyResponse, error) {
	if len(req.Commands) > maxForwardCommands {
		return nil, api.ToStatus(api.Errorf(api.CodeInvalid, "%d forwarded commands are over the limit of %d", len(req.Commands), maxForwardCommands))
	}
	if len(req.Checksums) != len(req.Commands) {
		return nil, api.ToStatus(api.Errorf(api.CodeInvalid, "%d checksums of %d forwarded commands", len(req.Checksums), len(req.Commands)))
	}
	bytes := 0
	for i, command := range req.Commands {
		bytes += len(command)
		if crc32.Checksum(command, castagnoli) != req.Checksums[i] {
			return nil, api.ToStatus(api.Errorf(api.CodeUnavailable, "a forwarded command was damaged on its way; nothing was executed"))
		}
	}
	ctx, leave, err := f.server.gate.enter(ctx, int64(bytes))
	if err != nil {
		return nil, api.ToStatus(err)
	}
	defer leave()
	sh, err := f.replica(req.ShardId)
	if err != nil {
		return nil, api.ToStatus(err)
	}
	outcomes := make([]shard.Outcome, len(req.Commands))
	var places []int // of those that are sound, in outcomes
	var commands []shard.Command
	for i, raw := range req.Commands {
		command, err := decodeForwarded(raw)
		if err != nil {
			outcomes[i].Err = err
			continue
		}
		places, commands = append(places, i), append(commands, command)
	}
	for i, o := range sh.ApplyInOrder(ctx, commands) {
		outcomes[places[i]] = o
	}
	return &peerv1.ForwardApplyResponse{Outcomes: outcomesToPeer(outcomes)}, nil
}

func decodeForwarded(raw []byte) (shard.Command, error) {
	command, err := shard.DecodeCommand(raw)
	if err != nil {
		return shard.Command{}, api.Errorf(api.CodeInvalid, "forwarded command: %w", err)
	}
	if err := checkNamespace(command.Batch.Namespace); err != nil {
		return shard.Command{}, err
	}
	if err := command.Validate(); err != nil {
		return shard.Command{}, err
	}
	return command, nil
}

// outcomesToPeer leaves out the results for which a message has no room: they are asked for again.
func outcomesToPeer(outcomes []shard.Outcome) []*peerv1.ForwardOutcome {
	list := make([]*peerv1.ForwardOutcome, len(outcomes))
	bytes, sum := 0, outcomeSum{}
	for i, o := range outcomes {
		size := resultBytes(&o.Result)
		if o.Err == nil && bytes > 0 && bytes+size > maxForwardAnswerBytes {
			o.Err = api.Errorf(api.CodeUnknownOutcome, "the answer is too long to be sent with others")
		}
		if o.Err != nil {
			list[i] = &peerv1.ForwardOutcome{Outcome: &peerv1.ForwardOutcome_Failure{Failure: failureToPeer(o.Err)}}
		} else {
			bytes += size
			list[i] = &peerv1.ForwardOutcome{Outcome: &peerv1.ForwardOutcome_Result{Result: resultToPeer(o.Result)}}
		}
		list[i].Checksum = sum.of(list[i])
	}
	return list
}

// resultBytes is about what a result takes in a message.
func resultBytes(r *api.Result) int {
	const overhead = 64
	bytes := overhead
	for i := range r.Ops {
		bytes += overhead + len(r.Ops[i].Previous) + len(r.Ops[i].Text)
	}
	return bytes
}

// failureToPeer takes an error without a code, which the end of a context is, for an open outcome.
func failureToPeer(err error) *pb.Failure {
	var e *api.Error
	if !errors.As(err, &e) {
		e = api.Errorf(api.CodeUnknownOutcome, "%w", err)
	}
	return &pb.Failure{Message: err.Error(), Detail: e.Detail()}
}

// Get implements peerv1.ForwardServer.
func (f forwardService) Get(ctx context.Context, req *peerv1.ForwardGetRequest) (*peerv1.ForwardGetResponse, error) {
	ctx, leave, err := f.server.gate.enter(ctx, 0)
	if err != nil {
		return nil, api.ToStatus(err)
	}
	defer leave()
	sh, err := f.replica(req.ShardId)
	if err != nil {
		return nil, api.ToStatus(err)
	}
	if len(req.Keys) == 0 {
		return nil, api.ToStatus(api.Errorf(api.CodeInvalid, "forwarded read of no keys"))
	}
	if err := checkKeys(api.Namespace(req.Namespace), req.Keys); err != nil {
		return nil, api.ToStatus(err)
	}
	bytes := replyBudget{gate: f.server.gate}
	defer bytes.release()
	bound := duration(req.MaxStalenessMs)
	read := f.server.readKeys(sh, api.ShardID(req.ShardId), api.Epoch(req.Epoch), api.Namespace(req.Namespace), bound)
	items, err := getSome(ctx, read, req.Keys)
	if err == nil {
		err = bytes.addItems(items)
	}
	if err != nil {
		return nil, api.ToStatus(err)
	}
	return &peerv1.ForwardGetResponse{Items: itemsToPeer(items, false)}, nil
}

// ScanPage implements peerv1.ForwardServer.
func (f forwardService) ScanPage(ctx context.Context, req *peerv1.ForwardScanPageRequest) (*peerv1.ForwardScanPageResponse, error) {
	ctx, leave, err := f.server.gate.enter(ctx, api.MaxScanPageBytes)
	if err != nil {
		return nil, api.ToStatus(err)
	}
	defer leave()
	sh, err := f.replica(req.ShardId)
	if err != nil {
		return nil, api.ToStatus(err)
	}
	r := api.Range{
		Namespace: api.Namespace(req.Namespace), Start: req.Start, End: req.End,
		Reverse: req.Reverse, Limit: req.Limit, KeysOnly: req.KeysOnly,
	}
	if err := checkRange(&r); err != nil {
		return nil, api.ToStatus(err)
	}
	bound := duration(req.MaxStalenessMs)
	page, err := f.server.scanLocal(ctx, sh, api.ShardID(req.ShardId), api.Epoch(req.Epoch), r, bound)
	if err != nil {
		return nil, api.ToStatus(err)
	}
	return &peerv1.ForwardScanPageResponse{
		Items: itemsToPeer(page.Items, true), StartSlot: page.Arc.Start, EndSlot: page.Arc.End,
		More: page.More, Resume: page.Resume,
	}, nil
}

// Count implements peerv1.ForwardServer.
func (f forwardService) Count(ctx context.Context, req *peerv1.ForwardCountRequest) (*peerv1.ForwardCountResponse, error) {
	ctx, leave, err := f.server.gate.enter(ctx, 0)
	if err != nil {
		return nil, api.ToStatus(err)
	}
	defer leave()
	sh, err := f.replica(req.ShardId)
	if err != nil {
		return nil, api.ToStatus(err)
	}
	count, err := sh.Count(ctx, api.Epoch(req.Epoch), api.Namespace(req.Namespace))
	if err != nil {
		return nil, api.ToStatus(err)
	}
	return &peerv1.ForwardCountResponse{Count: count}, nil
}

// ReadIndex implements peerv1.ForwardServer.
func (f forwardService) ReadIndex(ctx context.Context, req *peerv1.ForwardReadIndexRequest) (*peerv1.ForwardReadIndexResponse, error) {
	ctx, leave, err := f.server.gate.enter(ctx, 0)
	if err != nil {
		return nil, api.ToStatus(err)
	}
	defer leave()
	sh, err := f.replica(req.ShardId)
	if err != nil {
		return nil, api.ToStatus(err)
	}
	p, err := sh.Prove(ctx)
	if err != nil {
		return nil, api.ToStatus(err)
	}
	return &peerv1.ForwardReadIndexResponse{Index: uint64(p.Index), Time: uint64(p.Time)}, nil
}

// Cursor implements peerv1.ForwardServer.
func (f forwardService) Cursor(_ context.Context, req *peerv1.ForwardCursorRequest) (*peerv1.ForwardCursorResponse, error) {
	at, found := f.server.cursors.resolve(req.Handle)
	return &peerv1.ForwardCursorResponse{Found: found, Slot: uint32(at.slot), Start: at.start}, nil
}
