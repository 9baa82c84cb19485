package mux

import (
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"
)

// TestAPipelineClosesAfterASendThatFailed: the connection breaks between two requests, so that the second
// is never given to it while the first still waits for its answer.
func TestAPipelineClosesAfterASendThatFailed(t *testing.T) {
	p := newWirePair(t)
	pipe := p.pipeline(t)
	if _, err := pipe.AppendEntries(request(2, &hraft.Log{Index: 2, Term: 2}), &hraft.AppendEntriesResponse{}); err != nil {
		t.Fatal(err)
	}
	connected := func(yes bool) {
		l := pipe.(*pipeline).link
		l.mu.Lock()
		defer l.mu.Unlock()
		l.mu.connected = yes
	}
	connected(false) // as disconnect does before it fails what waits
	if _, err := pipe.AppendEntries(request(2, &hraft.Log{Index: 3, Term: 2}), &hraft.AppendEntriesResponse{}); err == nil {
		t.Fatal("a request was sent on a broken connection")
	}
	connected(true)
	if err := pipe.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAClosedTransportGivesBackTheRoomOfItsRequests (RM2): what the library of a group that is closed or
// restarts never answered does not count against the other groups of the node, and who sent it is told.
func TestAClosedTransportGivesBackTheRoomOfItsRequests(t *testing.T) {
	p := newWirePair(t)
	pipe := p.pipeline(t)
	var futures []hraft.AppendFuture
	for index := range uint64(appendWindow) {
		f, err := pipe.AppendEntries(request(2, &hraft.Log{Index: index + 2, Term: 2, Data: []byte("x")}), &hraft.AppendEntriesResponse{})
		if err != nil {
			t.Fatal(err)
		}
		futures = append(futures, f)
	}
	for range appendWindow {
		select {
		case <-p.b.Consumer(): // and never answered
		case <-time.After(patience):
			t.Fatal("nothing arrived")
		}
	}
	if err := p.b.Close(); err != nil {
		t.Fatal(err)
	}
	if !p.muxB.received.TryAcquire(maxReceivedBytes) {
		t.Fatal("the requests of the closed group still take room")
	}
	for _, f := range futures {
		fails(t, "a request to a closed group", f.Error)
	}
}
