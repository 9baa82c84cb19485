package resp

import (
	"context"
	"sync"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// unread bounds the memory of replies that wait for their clients, over all connections (U3). A reply
// takes room before it is written and gives it back value by value. When there is no room, the client
// that is furthest behind is cut, as Redis does with one whose output buffer is full.
type unread struct {
	// Set by newUnread, never written again.
	clock clock.Clock
	room  *room
	lobby *room       // of replies that wait for room
	onCut func(*conn) // ends a connection; it must not block

	// mu is a leaf.
	mu struct {
		sync.Mutex
		replies map[*largeReply]struct{}
	}
}

// largeReply is a reply on its way to its client.
type largeReply struct {
	conn  *conn
	began time.Time

	// Guarded by unread.mu.
	held int // bytes of the room
	// piecewise says that the reply comes piece by piece: what is held is for a piece, to the end.
	piecewise bool
	taken     int // bytes that the client's socket has taken in
}

const (
	// replyPace is what a client has to take in, in bytes per second, while others wait for room, and
	// maxReplyLag how far it may be behind. So the largest reply holds room for at most
	// api.MaxReplyBytes/replyPace + maxReplyLag, 17 s, while others want it.
	replyPace   = 4 << 20
	maxReplyLag = time.Second
	// replyWait is how long a reply waits for room: until those that were there before it and that
	// nobody takes in are behind, with the few MiB that a socket takes in for its client.
	replyWait     = 3 * time.Second
	replyInterval = 50 * time.Millisecond // of looking who is behind
)

func newUnread(bytes int, c clock.Clock, onCut func(*conn)) *unread {
	u := &unread{clock: c, room: newRoom(bytes), lobby: newRoom(bytes / 4), onCut: onCut}
	u.mu.replies = make(map[*largeReply]struct{})
	return u
}

// take finds room for a reply, or returns nil.
func (u *unread) take(ctx context.Context, c *conn, bytes int) *largeReply {
	ok, given := u.room.tryOrWait(bytes)
	if !ok {
		if !u.lobby.tryTake(bytes) {
			return nil
		}
		defer u.lobby.give(bytes)
		ctx, cancel := context.WithTimeout(ctx, replyWait)
		defer cancel()
		ticker := time.NewTicker(replyInterval)
		defer ticker.Stop()
		for !ok {
			if !u.cutSlowest() {
				select {
				case <-given:
				case <-ticker.C:
				case <-ctx.Done():
					return nil
				}
			}
			ok, given = u.room.tryOrWait(bytes)
		}
	}
	r := &largeReply{conn: c, began: u.clock.Now(), held: bytes}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.mu.replies[r] = struct{}{}
	return r
}

// cutSlowest ends the connection whose client is furthest behind with its reply, if one is too far.
// Its room is there for others at once.
func (u *unread) cutSlowest() bool {
	slowest, held := u.removeSlowest(u.clock.Now())
	if slowest == nil {
		return false
	}
	u.onCut(slowest)
	u.room.give(held)
	return true
}

func (u *unread) removeSlowest(now time.Time) (slowest *conn, held int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var found *largeReply
	most := maxReplyLag
	for r := range u.mu.replies {
		lag := now.Sub(r.began) - time.Duration(r.taken)*time.Second/replyPace
		if r.held > 0 && lag >= most {
			found, most = r, lag
		}
	}
	if found == nil {
		return nil, 0
	}
	delete(u.mu.replies, found)
	held, found.held = found.held, 0
	return found.conn, held
}

// moved notes that the client's socket has taken bytes in.
func (u *unread) moved(r *largeReply, bytes int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	r.taken += bytes
}

// give gives room back.
func (u *unread) give(r *largeReply, bytes int) {
	u.mu.Lock()
	if bytes = min(bytes, r.held); r.piecewise {
		bytes = 0
	}
	r.held -= bytes
	u.mu.Unlock()
	u.room.give(bytes)
}

// end gives back what the reply still holds.
func (u *unread) end(r *largeReply) {
	u.mu.Lock()
	delete(u.mu.replies, r)
	held := r.held
	r.held = 0
	u.mu.Unlock()
	u.room.give(held)
}

// holdReply takes room for a reply of bytes before it is written, if it is large; the end of the
// command gives it back. It does not send what is pending first: that could wait for the client
// while the reply is not counted.
func (c *conn) holdReply(bytes int) error {
	if bytes <= wire.LargeCommandBytes || c.reply != nil {
		return nil
	}
	s := c.server
	if c.reply = s.unread.take(s.ctx, c, bytes); c.reply == nil {
		return api.Errorf(api.CodeOverloaded, "the replies of all connections that wait for their clients hold too much memory; try again")
	}
	return nil
}

func (c *conn) releaseReply() {
	if c.reply != nil {
		c.server.unread.end(c.reply)
		c.reply = nil
	}
}

// holdResults is holdReply for the values that a command has found. Whoever wrote is told that only
// the reply is missing.
func (c *conn) holdResults(results []api.OpResult, readsOnly, piecewise bool) error {
	bytes := 0
	if piecewise {
		bytes = api.MaxInlineBytes
	}
	for i := range results {
		bytes += len(results[i].Previous)
	}
	err := c.holdReply(bytes)
	if err == nil && piecewise {
		c.server.unread.mu.Lock()
		c.reply.piecewise = true
		c.server.unread.mu.Unlock()
	}
	if err != nil && !readsOnly {
		return api.Errorf(api.CodeUnknownOutcome, "the command has run, but there is no room for its reply: %w", err)
	}
	return err
}

// cutUnread ends the connection of a client that does not take its reply in.
func (s *Server) cutUnread(c *conn) {
	c.cut.Store(true)
	_ = c.net.SetDeadline(now()) // closing TLS could wait for the client
	count := s.stats.unread.Add(1)
	at := s.opts.Clock.Now().UnixMilli()
	before := s.cutLogged.Load()
	if at-before >= cutLogInterval.Milliseconds() && s.cutLogged.CompareAndSwap(before, at) {
		s.opts.Logger.Info("closed a connection whose client takes its reply in too slowly, to make room for others", "closed", count)
	}
}

// cutLogInterval is how often connections that are cut are logged.
const cutLogInterval = 10 * time.Second
