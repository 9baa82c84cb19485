package mux

import (
	"context"
	"errors"
	"io"
	"math"
	"sync/atomic"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/testkit/fakenet"
	"github.com/lightning-db/lightning/raft/wire"
)

// testOwner is a group without a library: the test answers what arrives.
type testOwner struct {
	term, commit atomic.Uint64

	asks atomic.Int64
	hold atomic.Pointer[chan struct{}] // currentTerm waits for it

	leads   atomic.Uint64 // the first term in which it may still lead
	stalled atomic.Bool
	behind  atomic.Uint64 // how far the durable log is behind the highest index of all
	elected atomic.Bool   // it is no candidate any more
	lastLog atomic.Uint64 // as the latest answer had it
	applied atomic.Uint64
	passed  atomic.Uint64 // where a durable state of term 2 ends that the log does not reach back into
}

func (o *testOwner) CurrentTerm() uint64 {
	o.asks.Add(1)
	if hold := o.hold.Load(); hold != nil {
		<-*hold
	}
	return o.term.Load()
}
func (o *testOwner) CommitIndex() uint64             { return o.commit.Load() }
func (o *testOwner) AdmitSnapshot(_, _ uint64) error { return nil }
func (o *testOwner) Passed(previous uint64) (index, term uint64) {
	if index = o.passed.Load(); previous >= index {
		return 0, 0
	}
	return index, 2
}
func (o *testOwner) AppliedIndex() uint64     { return o.applied.Load() }
func (o *testOwner) Leader() (uint64, string) { return o.term.Load(), "" }
func (o *testOwner) StageSnapshot(*hraft.InstallSnapshotRequest, io.Reader) (func(), error) {
	return func() {}, nil
}
func (o *testOwner) PrepareSnapshot(*hraft.InstallSnapshotRequest, io.Reader, uint64) (bool, error) {
	return true, nil
}
func (o *testOwner) Stalled() bool                  { return o.stalled.Load() }
func (o *testOwner) Failed() bool                   { return false }
func (o *testOwner) Durable() uint64                { return math.MaxUint64 - o.behind.Load() }
func (o *testOwner) SnapshotSent(string, io.Reader) {}
func (o *testOwner) Leads(term uint64) bool         { return term >= o.leads.Load() }
func (o *testOwner) MayVote() bool                  { return true }
func (o *testOwner) MayLead() bool                  { return true }
func (o *testOwner) Electing() bool                 { return !o.elected.Load() }
func (o *testOwner) Answered(_ string, last uint64) { o.lastLog.Store(last) }

// patience bounds every wait of these tests; it is generous because the machine is shared.
const patience = 20 * time.Second

// wirePair is two muxes, each with one transport of group 7 attached.
type wirePair struct {
	net        *fakenet.Net
	a, b       *Transport
	muxA, muxB *Mux
	asking     *testOwner // of a
	owner      *testOwner // of b
	target     hraft.ServerAddress
}

// bareMux is a mux that a server serves.
func bareMux(t testing.TB, n *fakenet.Net, name string, more ...grpc.ServerOption) *Mux {
	t.Helper()
	at := n.At(name)
	pool := peers.New(peers.Options{Network: at, Resolver: at, Credentials: insecure.NewCredentials()})
	m := New(Options{Node: api.NodeID(name), Peers: pool, Clock: clock.Real{}, Logger: testkit.Logger(t)})
	server := grpc.NewServer(append(ServerOptions(), more...)...)
	m.Register(server)
	listener, err := at.Listen(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		m.Close()
		server.Stop()
		<-served
		pool.Close()
	})
	return m
}

func newTransport(m *Mux, group uint64, local string, owner Owner) *Transport {
	return m.NewTransport(TransportOptions{
		Group: group, Local: local, Owner: owner, HeartbeatTimeout: 500 * time.Millisecond, ElectionTimeout: 500 * time.Millisecond,
	})
}

func newWirePair(t testing.TB, more ...grpc.ServerOption) *wirePair {
	t.Helper()
	p := &wirePair{net: fakenet.New(), asking: &testOwner{}, owner: &testOwner{}, target: "b#1"}
	p.muxA = bareMux(t, p.net, "a")
	p.muxB = bareMux(t, p.net, "b", more...)
	p.a = newTransport(p.muxA, 7, "a#1", p.asking)
	p.b = newTransport(p.muxB, 7, "b#1", p.owner)
	p.muxA.Attach(p.a)
	p.muxB.Attach(p.b)
	t.Cleanup(func() {
		_ = p.a.Close()
		_ = p.b.Close()
	})
	return p
}

// answer takes the next request at b and answers it.
func (p *wirePair) answer(t *testing.T, resp *hraft.AppendEntriesResponse, err error) *hraft.AppendEntriesRequest {
	t.Helper()
	select {
	case rpc := <-p.b.Consumer():
		rpc.Respond(resp, err)
		return rpc.Command.(*hraft.AppendEntriesRequest)
	case <-time.After(patience):
		t.Fatal("nothing arrived")
		return nil
	}
}

func request(term uint64, entries ...*hraft.Log) *hraft.AppendEntriesRequest {
	return &hraft.AppendEntriesRequest{
		RPCHeader: hraft.RPCHeader{ProtocolVersion: 3}, Term: term, PrevLogEntry: 1, PrevLogTerm: 1, LeaderCommitIndex: 1, Entries: entries,
	}
}

func yes(term uint64) *hraft.AppendEntriesResponse {
	return &hraft.AppendEntriesResponse{Term: term, Success: true}
}

// fails runs f and fails the test if it does not return an error in time.
func fails(t *testing.T, what string, f func() error) error {
	t.Helper()
	result := make(chan error, 1)
	go func() { result <- f() }()
	select {
	case err := <-result:
		if err == nil {
			t.Fatalf("%s succeeded", what)
		}
		return err
	case <-time.After(patience):
		t.Fatalf("%s is stuck", what)
		return nil
	}
}

func (p *wirePair) pipeline(t *testing.T) hraft.AppendPipeline {
	t.Helper()
	// The first request waits for the connection; a pipeline is opened on one that works.
	result := make(chan error, 1)
	go func() {
		result <- p.a.AppendEntries("", p.target, request(2), &hraft.AppendEntriesResponse{})
	}()
	p.answer(t, yes(2), nil)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	pipe, err := p.a.AppendEntriesPipeline("", p.target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pipe.Close() })
	return pipe
}

func TestAPipelineYieldsAnswersInOrder(t *testing.T) {
	p := newWirePair(t)
	pipe := p.pipeline(t)
	for i := uint64(1); i <= 20; i++ {
		if _, err := pipe.AppendEntries(request(2, &hraft.Log{Index: i, Term: 2, Data: []byte("x")}), &hraft.AppendEntriesResponse{}); err != nil {
			t.Fatal(err)
		}
		if got := p.answer(t, yes(2), nil); got.Entries[0].Index != i || string(got.ID) != "a#1" || string(got.Addr) != "a#1" {
			t.Fatalf("request %d arrived as %+v", i, got)
		}
		f := <-pipe.Consumer()
		if f.Error() != nil || f.Request().Entries[0].Index != i || !f.Response().Success {
			t.Fatalf("answer %d = %+v", i, f)
		}
	}
}

func TestAPipelineDiesOfTheFirstAnswerThatIsNotYes(t *testing.T) {
	for name, answer := range map[string]struct {
		resp *hraft.AppendEntriesResponse
		err  error
	}{
		"rejected":   {resp: &hraft.AppendEntriesResponse{Term: 2}},
		"newer term": {resp: yes(3)},
		"error":      {err: errors.New("disk")},
	} {
		t.Run(name, func(t *testing.T) {
			p := newWirePair(t)
			pipe := p.pipeline(t)
			if _, err := pipe.AppendEntries(request(2), &hraft.AppendEntriesResponse{}); err != nil {
				t.Fatal(err)
			}
			p.answer(t, answer.resp, answer.err)
			if answer.resp != nil { // the library must see it
				if f := <-pipe.Consumer(); f.Response().Term != answer.resp.Term {
					t.Fatalf("answer = %+v", f.Response())
				}
			}
			fails(t, "the next request", func() error {
				for {
					if _, err := pipe.AppendEntries(request(2), &hraft.AppendEntriesResponse{}); err != nil {
						return err
					}
				}
			})
		})
	}
}

func TestAPipelineWithoutAnswersWaitsNoLongerThanItLives(t *testing.T) {
	p := newWirePair(t)
	pipe := p.pipeline(t)
	for range appendWindow {
		if _, err := pipe.AppendEntries(request(2), &hraft.AppendEntriesResponse{}); err != nil {
			t.Fatal(err)
		}
	}
	blocked := make(chan error, 1)
	go func() {
		_, err := pipe.AppendEntries(request(2), &hraft.AppendEntriesResponse{})
		blocked <- err
	}()
	select {
	case err := <-blocked:
		t.Fatalf("the window is not bounded: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := pipe.Close(); err != nil {
		t.Fatal(err)
	}
	if err := fails(t, "the blocked request", func() error { return <-blocked }); !errors.Is(err, errPipelineClosed) {
		t.Fatal(err)
	}
	l, err := p.a.linkTo(p.target, peers.Log)
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.mu.pending) != 0 {
		t.Fatalf("the link still keeps %d requests of the closed pipeline", len(l.mu.pending))
	}
}

func TestAPipelineDiesWithItsConnection(t *testing.T) {
	p := newWirePair(t)
	pipe := p.pipeline(t)
	if _, err := pipe.AppendEntries(request(2), &hraft.AppendEntriesResponse{}); err != nil {
		t.Fatal(err)
	}
	p.net.Cut("a", "b")
	if _, err := pipe.AppendEntries(request(2), &hraft.AppendEntriesResponse{}); err != nil {
		t.Fatal(err)
	}
	// What is lost shows when the network comes back, if no deadline came first.
	testkit.Eventually(t, patience, func() bool {
		p.net.Heal("a", "b")
		p.net.Cut("a", "b")
		select {
		case <-pipe.(*pipeline).ctx.Done():
			return true
		default:
			return false
		}
	}, "the pipeline lives")
	fails(t, "the next request", func() error {
		_, err := pipe.AppendEntries(request(2), &hraft.AppendEntriesResponse{})
		return err
	})
	p.net.Heal("a", "b")
}

func TestReplicationEndsWithItsTerm(t *testing.T) {
	p := newWirePair(t)
	p.net.Cut("a", "b")
	waiting := make(chan error, 1)
	go func() { waiting <- p.a.AppendEntries("", p.target, request(2), &hraft.AppendEntriesResponse{}) }()
	select {
	case err := <-waiting:
		t.Fatalf("did not wait for the peer: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	p.asking.leads.Store(3)
	p.a.EndEras()
	fails(t, "the request of the old term", func() error { return <-waiting })
	p.net.Heal("a", "b")
	go func() { waiting <- p.a.AppendEntries("", p.target, request(3), &hraft.AppendEntriesResponse{}) }()
	p.answer(t, yes(3), nil)
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
	fails(t, "a late request of the old term", func() error {
		return p.a.AppendEntries("", p.target, request(2), &hraft.AppendEntriesResponse{})
	})
	if n := len(p.a.mu.eras); n != 1 {
		t.Errorf("%d terms have a context, one is led", n)
	}
}

// TestAPreVoteIsAskedForUntilItIsGranted or this replica is no candidate any more.
func TestAPreVoteIsAskedForUntilItIsGranted(t *testing.T) {
	p := newWirePair(t)
	ask := func() (granted chan bool) {
		granted = make(chan bool, 1)
		go func() {
			var resp hraft.RequestPreVoteResponse
			err := p.a.RequestPreVote("", p.target, &hraft.RequestPreVoteRequest{RPCHeader: hraft.RPCHeader{ProtocolVersion: 3}, Term: 4}, &resp)
			granted <- err == nil && resp.Granted
		}()
		return granted
	}
	respond := func(granted bool) {
		t.Helper()
		select {
		case rpc := <-p.b.Consumer():
			rpc.Respond(&hraft.RequestPreVoteResponse{RPCHeader: hraft.RPCHeader{ProtocolVersion: 3}, Term: 3, Granted: granted}, nil)
		case <-time.After(patience):
			t.Fatal("nothing arrived")
		}
	}
	first := ask()
	respond(false)
	respond(false)
	respond(true)
	if !<-first {
		t.Fatal("the grant did not arrive")
	}
	second := ask()
	p.asking.elected.Store(true)
	respond(false)
	if <-second {
		t.Fatal("granted without a grant")
	}
}

func TestTheOwnerHearsWhereALogEnds(t *testing.T) {
	p := newWirePair(t)
	done := make(chan error, 1)
	go func() { done <- p.a.AppendEntries("", p.target, request(2), &hraft.AppendEntriesResponse{}) }()
	resp := yes(2)
	resp.LastLog = 17
	p.answer(t, resp, nil)
	if err := <-done; err != nil || p.asking.lastLog.Load() != 17 {
		t.Fatalf("%v, the log is said to end at %d", err, p.asking.lastLog.Load())
	}
}

func TestAReplicaThatCannotWriteConfirmsNobody(t *testing.T) {
	p := newWirePair(t)
	ask := func() bool {
		answers := make(chan ProbeAnswer, 1)
		p.muxA.Probe(Probe{Group: 7, To: string(p.target), Term: 5, Answer: answers}, patience)
		return (<-answers).Granted
	}
	if !ask() {
		t.Fatal("not granted")
	}
	p.owner.stalled.Store(true)
	if ask() {
		t.Fatal("granted by a replica whose log does not get written")
	}
}

// TestABlockedGroupRefusesMessagesAndHindersNoOther (RM2)
func TestABlockedGroupRefusesMessagesAndHindersNoOther(t *testing.T) {
	p := newWirePair(t)
	other := newTransport(p.muxB, 8, "b#1", &testOwner{})
	p.muxB.Attach(other)
	defer other.Close()
	sender := newTransport(p.muxA, 8, "a#1", &testOwner{})
	defer sender.Close()
	heartbeat := &hraft.AppendEntriesRequest{RPCHeader: hraft.RPCHeader{ProtocolVersion: 3}, Term: 2}
	if !isHeartbeat(heartbeat) || isHeartbeat(request(2)) {
		t.Fatal("a heartbeat is not recognized")
	}
	// Group 7 takes nothing from its queue.
	l, err := p.a.linkTo(p.target, peers.Control)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := l.waitReady(ctx); err != nil {
		t.Fatal(err)
	}
	const sent = 3 * maxQueuedMessages
	asked := make([]*question, sent)
	for i := range asked {
		asked[i] = &question{done: make(chan struct{})}
		asked[i].to = asked[i]
		f := p.a.request(p.target, wire.KindPreVote, wire.EncodePreVote(&hraft.RequestPreVoteRequest{Term: 2}))
		if err := l.start(ctx, &f, &asked[i].call); err != nil {
			t.Fatal(err)
		}
		defer asked[i].forget()
	}
	// A refusal comes at once; a request that is queued gets no answer.
	refusals := func() (n int) {
		for _, q := range asked {
			select {
			case <-q.done:
				n++
			default:
			}
		}
		return n
	}
	testkit.Eventually(t, patience, func() bool { return refusals() == sent-maxQueuedUrgent }, "too few were refused")
	if queued := len(p.b.consumer); queued != maxQueuedUrgent {
		t.Fatalf("%d queued", queued)
	}
	go func() {
		rpc := <-other.Consumer()
		rpc.Respond(yes(2), nil)
	}()
	if err := sender.AppendEntries("", p.target, heartbeat, &hraft.AppendEntriesResponse{}); err != nil {
		t.Fatalf("the other group: %v", err)
	}
}

func TestAMessageForAReplicaThatIsNotHereIsAnsweredWithAnError(t *testing.T) {
	p := newWirePair(t) // RM1
	for _, to := range []hraft.ServerAddress{"b#2", "b#0"} {
		err := p.a.RequestVote("", to, &hraft.RequestVoteRequest{Term: 5}, &hraft.RequestVoteResponse{})
		var remote *remoteError
		if !errors.As(err, &remote) {
			t.Fatalf("vote of %s: %v", to, err)
		}
	}
	if len(p.b.consumer) != 0 {
		t.Fatal("another replica got the message")
	}
}

func TestClosingATransportDetachesOnlyItsGroup(t *testing.T) {
	p := newWirePair(t)
	successor := newTransport(p.muxB, 7, "b#1", p.owner)
	p.muxB.Attach(successor)
	defer successor.Close()
	if err := p.b.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := p.muxB.hosted(7, []byte("b#1")); err != nil || got != successor {
		t.Fatalf("hosted = %v, %v", got, err)
	}
}

func TestEntriesBeyondTheByteLimitAreCutOffTheRequest(t *testing.T) {
	big := make([]byte, maxAppendBytes/2)
	r := request(2, &hraft.Log{Index: 1, Data: big}, &hraft.Log{Index: 2, Data: big}, &hraft.Log{Index: 3, Data: big})
	trimEntries(r)
	if len(r.Entries) != 1 {
		t.Fatalf("%d entries left", len(r.Entries))
	}
	r = request(2, &hraft.Log{Index: 1, Data: make([]byte, api.MaxEntryBytes)}, &hraft.Log{Index: 2})
	trimEntries(r)
	if len(r.Entries) != 1 || wire.AppendEntriesBytes(r) > api.MaxMessageBytes {
		t.Fatalf("%d entries left", len(r.Entries))
	}
}

// TestAProbeIsNotAnsweredByAnEarlierFrame (RM7): a probe that is asked for while another is on
// its way waits for a frame of its own.
func TestAProbeIsNotAnsweredByAnEarlierFrame(t *testing.T) {
	p := newWirePair(t)
	hold := make(chan struct{})
	p.owner.term.Store(5)
	p.owner.hold.Store(&hold)
	first, second := make(chan ProbeAnswer, 1), make(chan ProbeAnswer, 1)
	p.muxA.Probe(Probe{Group: 7, To: "b#1", Term: 5, Answer: first}, patience)
	testkit.Eventually(t, patience, func() bool { return p.owner.asks.Load() == 1 })
	p.muxA.Probe(Probe{Group: 7, To: "b#1", Term: 5, Answer: second}, patience)
	p.owner.hold.Store(nil)
	close(hold)
	if a := <-first; !a.Granted {
		t.Fatal("the first probe was refused")
	}
	if got := <-second; !got.Granted || p.owner.asks.Load() != 2 {
		t.Fatalf("second probe: %v after %d looks", got, p.owner.asks.Load())
	}
	p.owner.term.Store(6)
	third := make(chan ProbeAnswer, 1)
	p.muxA.Probe(Probe{Group: 7, To: "b#1", Term: 5, Answer: third}, patience)
	if a := <-third; a.Granted {
		t.Fatal("a replica beyond the term granted a probe")
	}
	p.owner.term.Store(math.MaxUint64)
	p.muxA.Probe(Probe{Group: 7, To: "b#9", Term: math.MaxUint64, Answer: third}, patience)
	if a := <-third; a.Granted {
		t.Fatal("a replica that is not there granted a probe")
	}
}

func TestAProbeOfANodeThatIsAwayIsRefusedInTime(t *testing.T) {
	p := newWirePair(t)
	p.net.Cut("a", "b")
	answer := make(chan ProbeAnswer, 1)
	p.muxA.Probe(Probe{Group: 7, To: "b#1", Term: 5, Answer: answer}, 50*time.Millisecond)
	select {
	case a := <-answer:
		if a.Granted || a.HasClock {
			t.Fatal("granted")
		}
	case <-time.After(patience):
		t.Fatal("no answer")
	}
	p.net.Heal("a", "b")
}

// TestARequestAmongEntriesThatAreHeldBeginsBehindThem (RM12), and one of the past stays as it is.
func TestARequestAmongEntriesThatAreHeldBeginsBehindThem(t *testing.T) {
	p := newWirePair(t)
	p.b.owner.(*testOwner).passed.Store(10)
	entries := func(term, first, last uint64) (list []*hraft.Log) {
		for ; first <= last; first++ {
			list = append(list, &hraft.Log{Index: first, Term: term})
		}
		return list
	}
	for name, c := range map[string]struct {
		term           uint64
		previous       uint64
		entries        []*hraft.Log
		begins, sends  uint64
		ownTermBetween uint64
	}{
		"all of it is held":                    {2, 3, entries(2, 4, 7), 10, 0, 2},
		"it ends where the state does":         {2, 3, entries(2, 4, 10), 10, 0, 2},
		"it goes on":                           {3, 3, entries(2, 4, 12), 10, 2, 2},
		"it begins with the first":             {3, 0, entries(2, 1, 12), 10, 2, 2},
		"it tells nothing":                     {3, 3, nil, 10, 0, 2},
		"it begins at the end of the state":    {3, 10, entries(3, 11, 12), 10, 2, 1},
		"the entry at the end is another":      {3, 3, entries(3, 4, 12), 3, 9, 1},
		"its term is before that of the state": {1, 3, entries(1, 4, 7), 3, 4, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := &hraft.AppendEntriesRequest{Term: c.term, PrevLogEntry: c.previous, PrevLogTerm: 1, Entries: c.entries}
			p.b.skipPassed(r)
			if r.PrevLogEntry != c.begins || uint64(len(r.Entries)) != c.sends || r.PrevLogTerm != c.ownTermBetween {
				t.Fatalf("begins behind %d of term %d with %d entries", r.PrevLogEntry, r.PrevLogTerm, len(r.Entries))
			}
			if len(r.Entries) > 0 && r.Entries[0].Index != c.begins+1 {
				t.Fatalf("the first is %d", r.Entries[0].Index)
			}
		})
	}
}
