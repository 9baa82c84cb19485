package differential

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/wire"
)

// server is one side of a session: what the commands are sent by, and what else writes.
type server struct {
	address     string
	main, other *wire.Conn
	took        time.Duration
}

// session compares two servers by the commands of one generator.
type session struct {
	*generator
	name         string
	protocol     string
	theirs, ours server
	report       *report
	recent       []string // the last rounds, for a finding
}

// limit is longer than any session takes; a server that hangs is found by it.
const limit = 5 * time.Minute

func newSession(name, protocol, theirs, ours string, seed uint64, r *report) (*session, error) {
	s := &session{name: name, protocol: protocol, report: r}
	s.theirs.address, s.ours.address = theirs, ours
	s.generator = newGenerator(rand.New(rand.NewPCG(seed, 0)), name, func(command string) bool { return !slices.Contains(r.skipped, command) })
	return s, s.connect()
}

func (s *session) connect() error {
	for _, side := range []*server{&s.theirs, &s.ours} {
		for _, conn := range []**wire.Conn{&side.main, &side.other} {
			if *conn != nil {
				_ = (*conn).Close()
			}
			c, err := wire.Dial(side.address, limit)
			if err != nil {
				return err
			}
			*conn = c
			if v, err := c.Do("HELLO", s.protocol); err != nil || v.IsError() {
				return fmt.Errorf("HELLO %s: %v, %w", s.protocol, v, err)
			}
		}
	}
	return nil
}

func (s *session) close() {
	for _, c := range []*wire.Conn{s.theirs.main, s.theirs.other, s.ours.main, s.ours.other} {
		_ = c.Close()
	}
}

// run compares at least count commands.
func (s *session) run(ctx context.Context, count int) error {
	defer s.close()
	for done := 0; done < count && ctx.Err() == nil; {
		round := s.round()
		pairs, err := s.play(ctx, round)
		done += len(pairs)
		if err != nil {
			return fmt.Errorf("session %s, after %s: %w", s.name, strings.Join(s.recent, "\n"), err)
		}
		s.remember(pairs)
		if s.judgeAll(pairs) {
			continue
		}
		if err := s.restart(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (s *session) remember(pairs []pair) {
	for _, p := range pairs {
		s.recent = append(s.recent, fmt.Sprintf("%.200q -> theirs %.200v, ours %.200v", p.args, p.theirs, p.ours))
	}
	if extra := len(s.recent) - 12; extra > 0 {
		s.recent = s.recent[extra:]
	}
}

// restart makes both sides equal again.
func (s *session) restart(ctx context.Context) error {
	s.recent = nil
	if err := s.connect(); err != nil {
		return err
	}
	_, err := s.play(ctx, steps(append([]string{"DEL"}, s.universe()...)))
	return err
}

// play sends the round to both sides and pairs their replies.
func (s *session) play(ctx context.Context, round []step) ([]pair, error) {
	var pairs []pair
	for len(round) > 0 {
		part := head(round)
		round = round[len(part):]
		if part[0].wait > 0 {
			cluster.Wait(ctx, part[0].wait)
			continue
		}
		theirs, ours, err := s.both(part)
		if err != nil {
			return pairs, err
		}
		for i, st := range part {
			pairs = append(pairs, pair{named(st), theirs[i], ours[i]})
		}
	}
	return expandBlocks(pairs), nil
}

func named(st step) []string {
	if st.scan {
		return append([]string{allPages}, st.args...)
	}
	return st.args
}

// head is the longest beginning of round that one connection sends at once.
func head(round []step) []step {
	for i, st := range round {
		if st.other != round[0].other || st.wait > 0 || st.scan {
			return round[:max(i, 1)]
		}
		if i > 0 && round[0].scan {
			return round[:1]
		}
	}
	return round
}

func (s *session) both(part []step) (theirs, ours []wire.Value, err error) {
	var problem error
	var wg sync.WaitGroup
	wg.Go(func() { theirs, problem = s.theirs.play(part) })
	ours, err = s.ours.play(part)
	wg.Wait()
	switch {
	case problem != nil:
		return nil, nil, fmt.Errorf("theirs, at %.300q and %d more: %w", part[0].args, len(part)-1, problem)
	case err != nil:
		return nil, nil, fmt.Errorf("ours, at %.300q and %d more: %w", part[0].args, len(part)-1, err)
	}
	return theirs, ours, nil
}

// play sends part as one pipeline and reads the replies.
func (side *server) play(part []step) ([]wire.Value, error) {
	began := time.Now()
	defer func() { side.took += time.Since(began) }()
	conn := side.main
	if part[0].other {
		conn = side.other
	}
	if part[0].scan {
		all, err := scan(conn, part[0].args)
		return []wire.Value{all}, err
	}
	var out []byte
	for _, st := range part {
		out = append(out, wire.Command(st.args...)...)
	}
	if _, err := conn.Write(out); err != nil {
		return nil, err
	}
	replies := make([]wire.Value, len(part))
	for i := range replies {
		var err error
		if replies[i], err = conn.Next(); err != nil {
			return nil, err
		}
	}
	return replies, nil
}

// scan reads all pages and returns the names, each once, as KEYS would.
func scan(conn *wire.Conn, args []string) (wire.Value, error) {
	all := wire.Value{Kind: '*', Raw: "*"}
	seen := map[string]bool{}
	cursor := "0"
	for range 10_000 {
		page, err := conn.Do(append([]string{"SCAN", cursor}, args...)...)
		if err != nil || page.IsError() {
			return page, err
		}
		if len(page.Items) != 2 {
			return page, fmt.Errorf("a page of SCAN is %v", page)
		}
		for _, item := range page.Items[1].Items {
			if !seen[item.Text] {
				seen[item.Text] = true
				all.Items = append(all.Items, item)
			}
		}
		if cursor = page.Items[0].Text; cursor == "0" {
			all.Raw += strconv.Itoa(len(all.Items)) + strings.Join(texts(all), " ")
			return all, nil
		}
	}
	return all, fmt.Errorf("SCAN %q does not end", args)
}

// expandBlocks puts in the place of EXEC's reply the replies of what had been queued, where both
// sides ran the block.
func expandBlocks(pairs []pair) []pair {
	var out []pair
	var queued [][]string
	for _, p := range pairs {
		switch {
		case len(p.args) == 0:
		case p.theirs.Raw == "+QUEUED\r\n":
			queued = append(queued, p.args)
		case canonical(p.args[0]) == "EXEC":
			if len(p.theirs.Items) == len(queued) && len(p.ours.Items) == len(queued) && len(queued) > 0 {
				for i, args := range queued {
					out = append(out, pair{args, p.theirs.Items[i], p.ours.Items[i]})
				}
				queued = nil
				continue
			}
			queued = nil
		case canonical(p.args[0]) == "DISCARD":
			queued = nil
		}
		out = append(out, p)
	}
	return out
}

// judgeAll reports every pair and returns whether the sides can go on as they are.
func (s *session) judgeAll(pairs []pair) bool {
	same := true
	for i, p := range pairs {
		r, ok := judge(p)
		s.report.add(p, r)
		if !ok && same { // what follows in this round may be its consequence
			s.report.find(s, p, pairs[:i])
			same = false
		}
	}
	return same
}
