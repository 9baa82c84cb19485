package mux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/raft/wire"
)

// Transport is one group's view of the Mux: hashicorp/raft's Transport with pre-vote. Closing
// it takes this group off the Mux and nothing else.
type Transport struct {
	mux   *Mux
	opts  TransportOptions
	group uint64
	local string // this replica's id, which is also its address
	owner Owner
	// localBytes is local, for frames.
	localBytes []byte

	consumer chan hraft.RPC
	// replies follow the order of consumer: the library's main loop answers in that order.
	replies chan pendingReply
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup // the reply loop
	gate    gate

	installing atomic.Bool // this replica receives a snapshot

	// See rest.go.
	stored  atomic.Uint64 // the entry that this replica's log was last given
	resting atomic.Int32  // senders of empty appends that rest

	// mu orders pushes to consumer and replies, and guards the eras; it is a leaf.
	mu struct {
		sync.Mutex
		eras    map[uint64]era
		beats   map[beatKey]*queuedBeat // that the library has
		bytes   int64                   // of the entries that the library has not answered
		senders map[string][]byte       // ids of the replicas that send to this one, kept for their requests
		states  map[string]*knownState  // by the replica that this one leads
		idle    []chan hraft.RPCResponse
		// fastPath is the library's handler of heartbeats, set only by a seeded bug (RM5).
		fastPath func(hraft.RPC)
	}
}

// Owner answers what a Transport cannot know by itself: it is the replica that the library runs for.
type Owner interface {
	SnapshotOwner
	ElectionOwner
	LogOwner
	// AppliedIndex is up to where this replica has applied entries, or has a snapshot.
	AppliedIndex() uint64
	// Leader is the current term and the replica that leads in it, as far as this one knows.
	Leader() (term uint64, replica string)
	// CommitIndex is up to where this replica knows entries to be committed.
	CommitIndex() uint64
	// CurrentTerm is the term that the library has published, or more than any if it has not
	// started.
	CurrentTerm() uint64
}

// LogOwner is the part of an Owner that knows how its log is.
type LogOwner interface {
	// Stalled reports whether this replica cannot write its log at the moment.
	Stalled() bool
	// Failed reports whether the group's storage failed.
	Failed() bool
	// Durable is the index up to which everything in this replica's log is durable, more than any index
	// when all of it is. When it has grown, Transport.Durable is called.
	Durable() uint64
	// Passed is the entry at which the state machine's durable state ends, and its term, if the log does not
	// reach from the entry previous, which lies before it, to that one; 0 otherwise.
	Passed(previous uint64) (index, term uint64)
}

// SnapshotOwner is the part of an Owner that snapshots need.
type SnapshotOwner interface {
	// AdmitSnapshot refuses a snapshot that the library would not handle safely, with ErrSnapshotHeld if the
	// log has its last entry durably.
	AdmitSnapshot(index, term uint64) error
	// StageSnapshot receives a snapshot that will be delivered next; discard removes it if it
	// was not installed.
	StageSnapshot(request *hraft.InstallSnapshotRequest, data io.Reader) (discard func(), err error)
	// PrepareSnapshot makes the snapshot that data is to be read from, now that it can be sent, and
	// completes the request that announces it. If the log has what follows the entry that the receiver has
	// applied, the snapshot is not needed: the request then names that entry.
	PrepareSnapshot(request *hraft.InstallSnapshotRequest, data io.Reader, applied uint64) (needed bool, err error)
	// SnapshotSent is told that a replica has put the snapshot that it was sent from data in place.
	SnapshotSent(replica string, data io.Reader)
}

// ElectionOwner is the part of an Owner that knows of leaders and candidates.
type ElectionOwner interface {
	// Leads reports whether this replica leads in a term. Once it does not, it never will again.
	Leads(term uint64) bool
	// Electing reports whether this replica is a candidate.
	Electing() bool
	// MayVote reports whether this replica may vote: it holds something of its group, or has lost nothing. One that is new,
	// or has lost its disk, knows of no vote and no entry, and must not decide who has all of them.
	MayVote() bool
	// MayLead reports whether this replica may stand for election: it holds something of its group.
	MayLead() bool
	// Answered is told of each answer to entries or a heartbeat and where the replica's log ends.
	Answered(replica string, lastLog uint64)
}

// TransportOptions configures a Transport. All fields are required.
type TransportOptions struct {
	Group uint64
	// Local is this replica's id, "<node>#<incarnation>".
	Local string
	// HeartbeatTimeout and ElectionTimeout are the library's. They bound the wait for an answer to a
	// heartbeat and to a vote.
	HeartbeatTimeout, ElectionTimeout time.Duration
	Owner                             Owner
}

// era is the context of the calls that replicate for one term. It ends when the term's
// leadership ends, so that a call may wait for a peer as long as that takes.
type era struct {
	ctx    context.Context
	cancel context.CancelFunc
}

// pendingReply is a request that the library has, and where its answer goes.
type pendingReply struct {
	response chan hraft.RPCResponse
	replier  replier
	bytes    int64
	last     uint64 // index of its last entry, 0 if it has none
}

const (
	// maxQueuedMessages bounds what waits for a group's main loop. Heartbeats and votes may
	// take half of it: they are worth nothing when they are late.
	maxQueuedMessages = 128
	maxQueuedUrgent   = maxQueuedMessages / 2
	// maxQueuedBytes bounds the entries that wait for one group's main loop, unless one message
	// alone is larger: twice what a leader has on its way, for the change of the leader.
	maxQueuedBytes = 2 * maxAppendBytes
	// maxReceivedBytes bounds those of all groups of the node. Beyond it messages with entries are
	// refused, and their senders try again.
	maxReceivedBytes = 64 << 20
	// maxSenders bounds the ids that are kept; a group has fewer members.
	maxSenders = 64

	// appendTimeout bounds the wait for a follower that is connected: its write of a large
	// batch and the queue before it, not an outage, which breaks the connection.
	appendTimeout = 5 * time.Second

	// preVotesPerTimeout: as often as a leader sends heartbeats.
	preVotesPerTimeout = 10

	// maxAppendBytes bounds the entries of one message, unless the first alone is larger.
	maxAppendBytes = 4 << 20
)

var errTransportClosed = errors.New("the group is closed")

var errLogStalled = errors.New("this replica's log does not get written")

var errEmptyVoter = errors.New("this replica holds nothing of its group yet, and does not vote")

var errEraEnded = errors.New("this replica does not lead any more")

// NewTransport makes a Transport that receives nothing until it is attached.
func (m *Mux) NewTransport(o TransportOptions) *Transport {
	t := &Transport{
		mux: m, opts: o, group: o.Group, local: o.Local, localBytes: []byte(o.Local), owner: o.Owner,
		consumer: make(chan hraft.RPC, maxQueuedMessages),
		// One more than can wait: the message that the main loop works on.
		replies: make(chan pendingReply, maxQueuedMessages+1),
	}
	t.gate.durable = o.Owner.Durable
	t.ctx, t.cancel = context.WithCancel(m.ctx)
	t.mu.eras = make(map[uint64]era)
	t.mu.beats = make(map[beatKey]*queuedBeat)
	t.mu.senders = make(map[string][]byte)
	t.mu.states = make(map[string]*knownState)
	t.wg.Go(t.replyLoop)
	return t
}

// accept queues a request for the library and never blocks.
func (t *Transport) accept(f *wire.Frame, r replier) error {
	command, err := wire.DecodeRequest(f.Kind, f.Payload, t.sender(f.From))
	if err != nil {
		return err
	}
	switch command.(type) {
	case *hraft.RequestVoteRequest, *hraft.RequestPreVoteRequest:
		if !t.owner.MayVote() {
			return errEmptyVoter
		}
	case *hraft.TimeoutNowRequest:
		if !t.owner.MayLead() {
			return errEmptyVoter
		}
	}
	limit, p := maxQueuedUrgent, pendingReply{replier: r}
	if a, ok := command.(*hraft.AppendEntriesRequest); ok {
		limitCommit(a)
		t.skipPassed(a)
		limit, p.bytes = maxQueuedMessages, int64(len(f.Payload))
		p.last = lastIndex(a)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pushLocked(command, p, limit)
}

// acceptBeat queues a heartbeat, or finds the one that is queued, and never blocks. The result is nil if
// there is no room.
func (t *Transport) acceptBeat(b *wire.Beat) *queuedBeat {
	from := t.sender(b.From)
	t.mu.Lock()
	defer t.mu.Unlock()
	// An answer that is there already was given before this heartbeat arrived.
	key := beatKey{string(from), b.Term}
	if q := t.mu.beats[key]; q != nil && len(q.response) == 0 {
		return q
	}
	if t.ctx.Err() != nil || len(t.consumer) >= maxQueuedUrgent {
		return nil
	}
	q := &queuedBeat{transport: t, key: key, response: make(chan hraft.RPCResponse, 1)}
	rpc := hraft.RPC{Command: &hraft.AppendEntriesRequest{RPCHeader: wire.Header(from), Term: b.Term}, RespChan: q.response}
	if handler := t.mu.fastPath; handler != nil {
		handler(rpc)
		return q
	}
	t.consumer <- rpc
	t.mu.beats[key] = q
	return q
}

// pushLocked gives a request to the library if there is room.
func (t *Transport) pushLocked(command any, p pendingReply, limit int) error {
	if t.ctx.Err() != nil {
		return errTransportClosed
	}
	if len(t.consumer) >= limit || len(t.replies) == cap(t.replies) || t.mu.bytes > 0 && t.mu.bytes+p.bytes > maxQueuedBytes {
		return errBusy
	}
	if p.bytes > 0 && !t.mux.received.TryAcquire(min(p.bytes, maxReceivedBytes)) {
		return errBusy
	}
	if n := len(t.mu.idle); n > 0 {
		p.response, t.mu.idle = t.mu.idle[n-1], t.mu.idle[:n-1]
	} else {
		p.response = make(chan hraft.RPCResponse, 1)
	}
	t.mu.bytes += p.bytes
	t.consumer <- hraft.RPC{Command: command, RespChan: p.response}
	t.replies <- p
	return nil
}

// sender is a copy of a replica id that lives as long as the requests that it is in.
func (t *Transport) sender(id []byte) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept, ok := t.mu.senders[string(id)]
	if !ok {
		kept = bytes.Clone(id)
		if len(t.mu.senders) < maxSenders {
			t.mu.senders[string(kept)] = kept
		}
	}
	return kept
}

// limitCommit lowers the leader's commit index to the last entry that the request vouches for, as
// the Raft paper demands (RM4). The library commits whatever it holds up to that index; behind the end
// of the request that may be what a leader of an earlier term left here.
func limitCommit(r *hraft.AppendEntriesRequest) {
	if seededbug.Enabled(seededbug.MuxCommitBeyondMessage) {
		return
	}
	r.LeaderCommitIndex = min(r.LeaderCommitIndex, r.PrevLogEntry+uint64(len(r.Entries)))
}

// skipPassed takes out of a request what this replica has in its durable state and not in its log any more. The
// library would refuse all of it, and the leader begin one entry earlier each time, down to the first and then for
// ever, if its own log goes back that far. It comes to that when an answer was lost, or when a snapshot of an
// earlier leader was put in place (RM12).
func (t *Transport) skipPassed(r *hraft.AppendEntriesRequest) {
	index, term := t.owner.Passed(r.PrevLogEntry)
	if index == 0 || r.Term < term {
		return
	}
	passed := min(index-r.PrevLogEntry, uint64(len(r.Entries)))
	if last := r.PrevLogEntry + passed; passed > 0 && last == index && r.Entries[passed-1].Term != term {
		return // a leader of the past, whose term the library will find to be over
	}
	r.PrevLogEntry, r.PrevLogTerm, r.Entries = index, term, r.Entries[passed:]
}

// replyLoop sends the library's answers back.
func (t *Transport) replyLoop() {
	for {
		select {
		case p := <-t.replies:
			select {
			case r := <-p.response:
				t.finish(&p, r)
			case <-t.ctx.Done():
				t.finish(&p, hraft.RPCResponse{Error: errTransportClosed})
				return
			}
		case <-t.ctx.Done():
			return
		}
	}
}

// lastIndex is the index of a request's last entry, 0 if it has none.
func lastIndex(r *hraft.AppendEntriesRequest) uint64 {
	if n := len(r.Entries); n > 0 {
		return r.Entries[n-1].Index
	}
	return 0
}

// finish answers one request, a yes to entries only when they are durable here (RM10): also to those that
// were here before, because they may be no more durable than others.
func (t *Transport) finish(p *pendingReply, r hraft.RPCResponse) {
	answer, ok := r.Response.(*hraft.AppendEntriesResponse)
	if ok && p.last > 0 && r.Error == nil && answer.Success && !seededbug.Enabled(seededbug.MuxAnswerBeforeDurable) {
		if t.gate.hold(p.last, &heldReply{t, *p, r}) {
			return
		}
	}
	t.reply(p, r)
}

// heldReply is an answer that waits for this replica's log. It implements waiter.
type heldReply struct {
	transport *Transport
	request   pendingReply
	answer    hraft.RPCResponse
}

func (h *heldReply) pass(err error) {
	if err != nil {
		h.answer = hraft.RPCResponse{Error: err}
	}
	h.transport.reply(&h.request, h.answer)
}

// Durable is called when more of this replica's log is durable. It does not block.
func (t *Transport) Durable() { t.gate.open() }

// reply sends an answer.
func (t *Transport) reply(p *pendingReply, r hraft.RPCResponse) {
	t.mu.Lock()
	t.mu.bytes -= p.bytes
	if len(t.mu.idle) < appendWindow && t.ctx.Err() == nil {
		t.mu.idle = append(t.mu.idle, p.response)
	}
	t.mu.Unlock()
	if p.bytes > 0 {
		t.mux.received.Release(min(p.bytes, maxReceivedBytes))
	}
	p.replier.answer(r)
}

// isHeartbeat recognizes what the library's heartbeat goroutine sends.
func isHeartbeat(r *hraft.AppendEntriesRequest) bool {
	return r.Term != 0 && r.PrevLogEntry == 0 && r.PrevLogTerm == 0 && len(r.Entries) == 0 && r.LeaderCommitIndex == 0
}

// Consumer implements hraft.Transport.
func (t *Transport) Consumer() <-chan hraft.RPC { return t.consumer }

// LocalAddr implements hraft.Transport.
func (t *Transport) LocalAddr() hraft.ServerAddress { return hraft.ServerAddress(t.local) }

// EncodePeer implements hraft.Transport.
func (t *Transport) EncodePeer(_ hraft.ServerID, a hraft.ServerAddress) []byte { return []byte(a) }

// DecodePeer implements hraft.Transport.
func (t *Transport) DecodePeer(b []byte) hraft.ServerAddress { return hraft.ServerAddress(b) }

// SetHeartbeatHandler implements hraft.Transport and ignores the handler (RM5): it would run beside
// the library's main loop and could change the term under it (hashicorp/raft issue 695).
func (t *Transport) SetHeartbeatHandler(handler func(hraft.RPC)) {
	if seededbug.Enabled(seededbug.MuxHeartbeatFastPath) {
		t.mu.fastPath = handler
	}
}

// Close implements hraft.WithClose: it detaches the group and ends its calls. What the library has not
// answered is answered with an error, and takes no room of the other groups any more.
func (t *Transport) Close() error {
	t.mux.detach(t)
	t.mu.Lock()
	t.cancel()
	t.mu.Unlock()
	t.wg.Wait()
	t.gate.close()
	for {
		select {
		case p := <-t.replies: // nothing is added any more
			t.finish(&p, hraft.RPCResponse{Error: errTransportClosed})
		default:
			return nil
		}
	}
}

// EndEras ends the calls of the terms in which this replica leads no more. Its owner calls it after
// each change.
func (t *Transport) EndEras() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for term, e := range t.mu.eras {
		if !t.owner.Leads(term) {
			e.cancel()
			delete(t.mu.eras, term)
		}
	}
	for _, k := range t.mu.states {
		t.wakeLocked(k)
	}
}

// eraContext is the context for replication in a term. It is kept before it is asked whether the
// term's leadership goes on: if that ends later, EndEras finds the context.
func (t *Transport) eraContext(term uint64) (context.Context, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.mu.eras[term]
	if !ok {
		e.ctx, e.cancel = context.WithCancel(t.ctx)
		t.mu.eras[term] = e
	}
	if !t.owner.Leads(term) {
		e.cancel()
		delete(t.mu.eras, term)
		return nil, errEraEnded
	}
	return e.ctx, nil
}

// ask sends one request on Control and waits for the answer no longer than an election.
func (t *Transport) ask(to hraft.ServerAddress, kind wire.Kind, payload []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(t.ctx, t.opts.ElectionTimeout)
	defer cancel()
	l, err := t.linkTo(to, peers.Control)
	if err != nil {
		return nil, err
	}
	f := t.request(to, kind, payload)
	return l.ask(ctx, &f)
}

func (t *Transport) request(to hraft.ServerAddress, kind wire.Kind, payload []byte) wire.Frame {
	return wire.Frame{Kind: kind, Group: t.group, From: t.localBytes, To: []byte(to), Payload: payload}
}

func (t *Transport) linkTo(to hraft.ServerAddress, lane peers.Lane) (*link, error) {
	node, err := nodeOf(to)
	if err != nil {
		return nil, err
	}
	return t.mux.link(node, lane)
}

// AppendEntries implements hraft.Transport. Entries beyond the byte limit are cut off the
// request in place: the library takes what the request holds afterwards as sent.
func (t *Transport) AppendEntries(_ hraft.ServerID, to hraft.ServerAddress, args *hraft.AppendEntriesRequest, resp *hraft.AppendEntriesResponse) error {
	if t.owner.Stalled() {
		return errLogStalled // so that the followers look for a leader that can write
	}
	if isHeartbeat(args) {
		return t.heartbeat(to, args, resp)
	}
	trimEntries(args)
	era, err := t.eraContext(args.Term)
	if err != nil {
		return err
	}
	l, err := t.linkTo(to, peers.Log)
	if err != nil {
		return err
	}
	// Waiting for the connection has no deadline of its own. The library backs off up to ten
	// seconds when calls fail, and a peer that comes back would then wait that long for entries.
	if err := l.waitReady(era); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(era, appendTimeout)
	defer cancel()
	f := t.request(to, wire.KindAppendEntries, nil)
	f.Append = args
	payload, err := l.ask(ctx, &f)
	if err == nil {
		err = t.answered(to, payload, resp)
	}
	if err == nil && resp.Success {
		err = t.awaitDurable(ctx, lastIndex(args))
	}
	return err
}

// counted holds back that a follower has entries until this replica has them durably (RM10). The library has
// counted this replica before; with the follower's word it would take them for committed.
func (t *Transport) counted(last uint64, w waiter) bool {
	return last > 0 && !seededbug.Enabled(seededbug.MuxCountBeforeDurable) && t.gate.hold(last, w)
}

// durableWait waits on the caller's goroutine. It implements waiter.
type durableWait chan error

func (w durableWait) pass(err error) { w <- err }

func (t *Transport) awaitDurable(ctx context.Context, last uint64) error {
	w := make(durableWait, 1)
	if !t.counted(last, w) {
		return nil
	}
	select {
	case err := <-w:
		return err
	case <-ctx.Done():
		t.gate.forget(w)
		return fmt.Errorf("wait for entry %d to be durable here: %w", last, context.Cause(ctx))
	}
}

// answered decodes the answer to entries and tells the owner of it.
func (t *Transport) answered(to hraft.ServerAddress, payload []byte, resp *hraft.AppendEntriesResponse) error {
	if err := wire.DecodeAppendEntriesResponse(payload, resp); err != nil {
		return err
	}
	t.owner.Answered(string(to), resp.LastLog)
	return nil
}

// trimEntries bounds a request by bytes; the library bounds it by count only.
func trimEntries(r *hraft.AppendEntriesRequest) {
	size := 0
	for i, e := range r.Entries {
		size += len(e.Data) + wire.EntryOverheadBytes
		if i > 0 && size > maxAppendBytes {
			clear(r.Entries[i:])
			r.Entries = r.Entries[:i]
			return
		}
	}
}

// RequestVote implements hraft.Transport.
func (t *Transport) RequestVote(_ hraft.ServerID, to hraft.ServerAddress, args *hraft.RequestVoteRequest, resp *hraft.RequestVoteResponse) error {
	payload, err := t.ask(to, wire.KindRequestVote, wire.EncodeRequestVote(args))
	if err != nil {
		return err
	}
	resp.RPCHeader, resp.Term, resp.Granted, err = wire.DecodeGrant(payload)
	return err
}

// RequestPreVote implements hraft.WithPreVote. A voter that refuses is asked again for as long as this
// replica is a candidate: most refuse because they have not noticed yet that the leader is gone, and
// the library would ask again only after an election timeout, which is when clients wait. A pre-vote
// binds nobody, so asking often costs a frame and no more.
func (t *Transport) RequestPreVote(_ hraft.ServerID, to hraft.ServerAddress, args *hraft.RequestPreVoteRequest, resp *hraft.RequestPreVoteResponse) error {
	ctx, cancel := context.WithTimeout(t.ctx, t.opts.ElectionTimeout)
	defer cancel()
	l, err := t.linkTo(to, peers.Control)
	if err != nil {
		return err
	}
	payload := wire.EncodePreVote(args)
	for {
		f := t.request(to, wire.KindPreVote, payload)
		answer, err := l.ask(ctx, &f)
		if err != nil {
			return err
		}
		resp.RPCHeader, resp.Term, resp.Granted, err = wire.DecodeGrant(answer)
		if err != nil || resp.Granted || resp.Term > args.Term {
			return err
		}
		select {
		case <-time.After(t.opts.HeartbeatTimeout / preVotesPerTimeout):
		case <-ctx.Done():
			return nil // the last answer counts
		}
		if !t.owner.Electing() {
			return nil
		}
	}
}

// Stand has the library of this replica stand for election at once, without asking for pre-votes; false if it has too
// much to do.
func (t *Transport) Stand() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil || len(t.consumer) >= maxQueuedUrgent {
		return false
	}
	t.consumer <- hraft.RPC{
		Command:  &hraft.TimeoutNowRequest{RPCHeader: wire.Header(t.localBytes)},
		RespChan: make(chan hraft.RPCResponse, 1),
	}
	return true
}

// TimeoutNow implements hraft.Transport.
func (t *Transport) TimeoutNow(_ hraft.ServerID, to hraft.ServerAddress, args *hraft.TimeoutNowRequest, _ *hraft.TimeoutNowResponse) error {
	_, err := t.ask(to, wire.KindTimeoutNow, wire.AppendVersion(nil, args.RPCHeader))
	return err
}

var _ interface {
	hraft.Transport
	hraft.WithPreVote
	hraft.WithClose
} = (*Transport)(nil)

// nodeOf is the node of a replica id, which is "<node>#<incarnation>".
func nodeOf(address hraft.ServerAddress) (api.NodeID, error) {
	node, _, ok := strings.Cut(string(address), "#")
	if !ok || node == "" {
		return "", fmt.Errorf("replica id %q is not <node>#<incarnation>", address)
	}
	return api.NodeID(node), nil
}
