package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/shard"
)

// inPiecesOf gives out a value in pieces of a size.
func inPiecesOf(value []byte, size int) func() ([]byte, error) {
	return func() ([]byte, error) {
		if len(value) == 0 {
			return nil, io.EOF
		}
		n := min(size, len(value))
		piece := value[:n:n]
		value = value[n:]
		return piece, nil
	}
}

// drain takes all pieces of a value, none of which is longer than is said.
func drain(t *testing.T, v Pieces) ([]byte, error) {
	t.Helper()
	var value []byte
	for {
		piece, err := v.Next()
		if errors.Is(err, io.EOF) {
			return value, nil
		}
		if err != nil {
			return value, err
		}
		if len(piece) == 0 || len(piece) > api.MaxInlineBytes {
			t.Errorf("a piece of %d bytes", len(piece))
		}
		value = append(value, piece...)
	}
}

func numbered(size int) []byte {
	value := make([]byte, size)
	for i := range value {
		value[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return value
}

func TestAValueIsWrittenAndReadPieceByPiece(t *testing.T) {
	for _, size := range []int{0, 1, api.MaxInlineBytes, api.MaxInlineBytes + 1, api.MaxWholeBytes, 2 * api.MaxWholeBytes} {
		c := newCluster(t, 1, patient)
		value, key := numbered(size), []byte("k")
		for _, node := range []api.NodeID{"a", "b"} { // a leads
			res, err := c.servers[node].PutValue(t.Context(), Put{Key: key}, inPiecesOf(value, 100_000))
			if err != nil || !res.Applied || res.Ops[0].Existed != (node == "b") {
				t.Fatalf("put %d bytes: %+v, %v", size, res, err)
			}
			v, err := c.servers[node].OpenValue(t.Context(), Query{Keys: [][]byte{key}})
			if err != nil {
				t.Fatal(err)
			}
			if !v.Found || v.Bytes != uint64(size) || v.Version != res.Version {
				t.Errorf("open %d bytes: %+v", size, v.Item)
			}
			got, err := drain(t, v)
			v.Close()
			if err != nil || !bytes.Equal(got, value) {
				t.Errorf("%d bytes: got %d, %v", size, len(got), err)
			}
			wantNothingHeld(t, c.servers[node])
		}
	}
}

// wantNothingHeld compares what the gate counts with nothing.
func wantNothingHeld(t *testing.T, s *Server) {
	t.Helper()
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	if s.gate.mu.count != 0 || s.gate.mu.bytes != 0 || s.gate.mu.found != 0 {
		t.Errorf("%d requests hold %d bytes, %d of them found", s.gate.mu.count, s.gate.mu.bytes, s.gate.mu.found)
	}
}

func TestAValueThatIsNotThereHasNoPieces(t *testing.T) {
	c := newCluster(t, 1, nil)
	v, err := c.servers["b"].OpenValue(t.Context(), Query{Keys: [][]byte{[]byte("none")}})
	if err != nil || v.Found {
		t.Fatalf("%+v, %v", v, err)
	}
	if _, err := v.Next(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	v.Close()
	wantNothingHeld(t, c.servers["b"])
}

func TestAValueOverTheLimitIsRefusedWhileItComes(t *testing.T) {
	c := newCluster(t, 1, patient)
	came := 0
	next := inPiecesOf(make([]byte, api.MaxValueBytes+api.MaxInlineBytes), api.MaxPartBytes)
	_, err := c.servers["b"].PutValue(t.Context(), Put{Key: []byte("k")}, func() ([]byte, error) {
		piece, err := next()
		came += len(piece)
		return piece, err
	})
	if !errors.Is(err, api.ErrTooLarge) || came > api.MaxValueBytes+api.MaxPartBytes {
		t.Errorf("%v after %d bytes", err, came)
	}
	if len(c.groups[1].staged) != 0 || len(c.groups[1].data) != 0 {
		t.Errorf("%d parts are left, %d keys", len(c.groups[1].staged), len(c.groups[1].data))
	}
}

func TestAPutWhoseSourceFailsIsNotExecuted(t *testing.T) {
	broken := errors.New("the client has gone")
	for _, after := range []int{0, api.MaxInlineBytes, 3 * api.MaxInlineBytes} {
		c := newCluster(t, 1, nil)
		next := inPiecesOf(make([]byte, after), api.MaxPartBytes)
		_, err := c.servers["b"].PutValue(t.Context(), Put{Key: []byte("k")}, func() ([]byte, error) {
			piece, err := next()
			if errors.Is(err, io.EOF) {
				err = broken
			}
			return piece, err
		})
		if !errors.Is(err, broken) || len(c.groups[1].staged) != 0 || len(c.groups[1].requests) != 0 {
			t.Errorf("after %d bytes: %v; %d parts are left, %d requests", after, err, len(c.groups[1].staged), len(c.groups[1].requests))
		}
		wantNothingHeld(t, c.servers["b"])
	}
}

// Two nodes that run one request, because the client has asked again, end with one answer, also when the first
// of them gives up and takes the parts back that the other one counts on.
func TestTwoTriesOfOneLargeRequestEndInOneAnswer(t *testing.T) {
	id := api.RequestID{Session: api.SessionID{CreatedMillis: 1, Random: 2}, Sequence: 3, Floor: 3}
	b := api.Batch{Request: id, Ops: []api.Op{{Kind: api.OpPut, Key: []byte("k"), Value: numbered(2 * api.MaxInlineBytes)}}}
	for taken := range maxStagings + 1 {
		c := newCluster(t, 1, nil)
		g, left := c.groups[1], taken
		g.before = func(_ context.Context, _ api.NodeID, write bool) error {
			g.mu.Lock()
			defer g.mu.Unlock()
			if left > 0 && len(g.staged) == 8 {
				left--
				clear(g.staged) // as the other try does
			}
			return nil
		}
		res, err := c.servers["b"].Apply(t.Context(), b)
		if taken == maxStagings {
			if !errors.Is(err, api.ErrPartsMissing) || len(g.requests) != 0 {
				t.Errorf("%v, executed %d times", err, len(g.requests))
			}
			continue
		}
		if err != nil || !res.Applied || len(g.requests) != 1 {
			t.Fatalf("parts taken %d times: %+v, %v, executed %d times", taken, res, err, len(g.requests))
		}
		again, err := c.servers["c"].Apply(t.Context(), b)
		if err != nil || again.Version != res.Version {
			t.Errorf("again: %+v, %v; first %+v", again, err, res)
		}
	}
}

// Sixteen clients put large values at once, one of them the largest: what the node has taken from them and not yet
// given to the shard is bounded, and so is what the gate counts.
func TestWritersOfLargeValuesHoldBoundedMemory(t *testing.T) {
	const writers = 16
	c := newCluster(t, 1, patient)
	s := c.servers["b"]
	var taken, staged, most, counted atomic.Int64
	c.groups[1].discard = true
	c.groups[1].onStage = func(st *shard.Stage) error {
		most.Store(max(most.Load(), taken.Load()-staged.Load())) // onStage runs under a lock
		staged.Add(int64(len(st.Part)))
		s.gate.mu.Lock()
		counted.Store(max(counted.Load(), s.gate.mu.bytes))
		s.gate.mu.Unlock()
		return nil
	}
	piece := numbered(api.MaxPartBytes)
	sizes, total := []int{api.MaxValueBytes}, int64(api.MaxValueBytes)
	for len(sizes) < writers {
		sizes, total = append(sizes, api.MaxWholeBytes), total+api.MaxWholeBytes
	}
	var g errgroup.Group
	for w := range writers {
		g.Go(func() error {
			left := sizes[w]
			_, err := s.PutValue(t.Context(), Put{Key: []byte{'k', byte(w)}}, func() ([]byte, error) {
				if left == 0 {
					return nil, io.EOF
				}
				left -= len(piece)
				taken.Add(int64(len(piece)))
				return piece, nil
			})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if staged.Load() != total || most.Load() > writers*maxPutBytes || counted.Load() > writers*(maxPutBytes+2) {
		t.Errorf("%d bytes arrived, %d were held, %d counted; a put holds %d", staged.Load(), most.Load(), counted.Load(), maxPutBytes)
	}
	wantNothingHeld(t, s)
}

func TestAPartThatFindsNoRoomWaitsForIt(t *testing.T) {
	c := newCluster(t, 1, nil)
	refusals := 3 * maxOverloads // more than a small request waits for
	c.groups[1].onStage = func(st *shard.Stage) error {
		if st.Number == 2 && refusals > 0 {
			refusals--
			return api.Errorf(api.CodeOverloaded, "parts of many batches wait already")
		}
		return nil
	}
	value := numbered(2 * api.MaxInlineBytes)
	if _, err := c.servers["b"].Apply(t.Context(), api.Batch{Ops: []api.Op{{Kind: api.OpPut, Key: []byte("k"), Value: value}}}); err != nil || refusals != 0 {
		t.Errorf("%v, %d refusals left", err, refusals)
	}
}

func TestPartsAreReadAtAnotherReplicaWhenOneFails(t *testing.T) {
	c := newCluster(t, 1, nil)
	value := numbered(3 * api.MaxInlineBytes)
	c.load("k", string(value))
	refused := 0
	c.groups[1].onParts = func(node api.NodeID, from uint32) error {
		if node == "b" && from > 0 {
			refused++
			return api.Errorf(api.CodeTooStale, "not applied yet")
		}
		return nil
	}
	v, err := c.servers["b"].OpenValue(t.Context(), Query{Keys: [][]byte{[]byte("k")}})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if got, err := drain(t, v); err != nil || !bytes.Equal(got, value) || refused != 2 {
		t.Errorf("%d bytes, %v, refused %d times", len(got), err, refused)
	}
}

func TestAValueThatIsGoneIsACodeForTheCaller(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.load("k", string(numbered(3*api.MaxInlineBytes)))
	c.groups[1].onParts = func(_ api.NodeID, from uint32) error {
		if from > 0 {
			return api.Errorf(api.CodeSnapshotTooOld, "replaced")
		}
		return nil
	}
	v, err := c.servers["b"].OpenValue(t.Context(), Query{Keys: [][]byte{[]byte("k")}})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := drain(t, v); !errors.Is(err, api.ErrSnapshotTooOld) || !api.Row(api.CodeOf(err)).Retry {
		t.Error(err)
	}
}

// A value whose bytes are not what its row says is never given out to the end.
func TestTheLastPieceIsGivenOnlyIfTheWholeIsRight(t *testing.T) {
	c := newCluster(t, 1, nil)
	value := numbered(2*api.MaxInlineBytes + 5)
	c.load("k", string(value))
	c.groups[1].onParts = func(_ api.NodeID, from uint32) error {
		for _, kept := range c.groups[1].values {
			kept[api.MaxInlineBytes] ^= 1
		}
		c.groups[1].onParts = nil
		return nil
	}
	v, err := c.servers["a"].OpenValue(t.Context(), Query{Keys: [][]byte{[]byte("k")}})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if got, err := drain(t, v); !errors.Is(err, api.ErrStoreFailed) || len(got) != 2*api.MaxInlineBytes {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestARangeOfAValueIsReadWithoutTheRest(t *testing.T) {
	c := newCluster(t, 1, nil)
	value := numbered(7 * api.MaxPartBytes)
	c.load("k", string(value))
	stored := c.groups[1].named(api.Item{Value: value}).Stored
	for _, r := range [][2]uint64{{0, 0}, {0, 1}, {5, 5}, {api.MaxPartBytes - 1, api.MaxPartBytes + 1}, {3, 7 * api.MaxPartBytes}, {0, 7 * api.MaxPartBytes}} {
		v, err := c.servers["b"].OpenStored(t.Context(), stored, r[0], r[1])
		if err != nil {
			t.Fatal(err)
		}
		if got, err := drain(t, v); err != nil || !bytes.Equal(got, value[r[0]:r[1]]) {
			t.Errorf("%v: %d bytes, %v", r, len(got), err)
		}
		v.Close()
	}
	if _, err := c.servers["b"].OpenStored(t.Context(), stored, 1, stored.Bytes+1); !errors.Is(err, api.ErrInvalid) {
		t.Error(err)
	}
	wantNothingHeld(t, c.servers["b"])
}

// EXISTS, TTL and STRLEN of a large value cost no more than of a small one.
func TestWhoDoesNotWantAValueDoesNotReadItsParts(t *testing.T) {
	c := newCluster(t, 2, nil)
	value := numbered(2 * api.MaxInlineBytes)
	keys := []string{"k0", "k1", "k2", "k3"}
	for _, key := range keys {
		c.load(key, string(value))
	}
	turn := Turn{Requests: []Request{{Ops: []api.Op{{Kind: api.OpGet, Key: []byte("k0")}}}, {Each: true}}}
	for _, key := range keys {
		turn.Requests[1].Ops = append(turn.Requests[1].Ops, api.Op{Kind: api.OpGet, Key: []byte(key)})
	}
	c.servers["b"].Run(t.Context(), &turn)
	for _, q := range turn.Requests {
		if !q.Done || q.Err != nil {
			t.Fatalf("%+v", q)
		}
		for _, r := range q.Results {
			if !r.Existed || r.Number != int64(len(value)) || r.Previous != nil {
				t.Errorf("%t, %d bytes", r.Existed, r.Number)
			}
		}
	}
	for _, g := range c.groups {
		if g.partReads != 0 {
			t.Errorf("shard %d was asked for parts %d times", g.id, g.partReads)
		}
	}
}
