package differential

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
)

var (
	seedFlag     = flag.Uint64("differential.seed", 0, "repeat the commands of a run; 0 draws a seed")
	commandsFlag = flag.Int("differential.commands", 24_000, "how many replies to compare at least")
)

// say prints a result at once, also when the test passes: these lines are the evidence of a run.
func say(t *testing.T, format string, args ...any) {
	fmt.Fprintf(os.Stdout, "    %s: %s\n", t.Name(), fmt.Sprintf(format, args...))
}

func seed(t *testing.T) uint64 {
	s := *seedFlag
	if s == 0 {
		s = rand.Uint64()
	}
	say(t, "-differential.seed %d", s)
	return s
}

// TestTwoRedisServersGiveEqualReplies shows that what the generator asks has one answer.
func TestTwoRedisServersGiveEqualReplies(t *testing.T) {
	a, b := startRedis(t), startRedis(t)
	demandNone(t, compare(t, a, b, seed(t)))
}

// TestANodeRepliesAsRedisDoes is the comparison. When a leadership moves, the time of its shard stands
// still for up to half a second, so that what is to live for milliseconds lives longer, and some
// outcomes may be unknown. On a machine so busy that one moves, the comparison is made again.
func TestANodeRepliesAsRedisDoes(t *testing.T) {
	theirs, seed := startRedis(t), seed(t)
	c := cluster.Start(t, cluster.Options{Args: cluster.Patient})
	for attempt := 1; ; attempt++ {
		before := c.Terms(t.Context())
		found := compare(t, theirs, c.Nodes[0].RESP, seed)
		if maps.Equal(before, c.Terms(t.Context())) || attempt == maxAttempts {
			demandNone(t, found)
			return
		}
		cluster.Wait(t.Context(), time.Second) // until shard time has caught up with the clock
		say(t, "a leadership moved during the comparison, which found %d differences", len(found))
	}
}

// maxAttempts: a machine on which leaderships move in each of five comparisons shows nothing.
const maxAttempts = 5

func demandNone(t *testing.T, found []string) {
	t.Helper()
	for _, f := range found {
		t.Errorf("%s", f)
	}
}

// TestDifferencesAreDocumented looks for what each rule says that docs/commands.md says.
func TestDifferencesAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(cluster.Root(), "docs", "commands.md"))
	if err != nil {
		t.Fatal(err)
	}
	prose := strings.Join(strings.Fields(string(text)), " ")
	for _, r := range rules {
		if !strings.Contains(prose, r.documented) || r.reason == "" {
			t.Errorf("docs/commands.md does not say %q, for which the rule %q lets replies differ", r.documented, r.name)
		}
	}
}

// sessions run side by side, every other one with version 3 of the protocol.
const sessions = 8

// compare returns what differs.
func compare(t *testing.T, theirs, ours string, seed uint64) []string {
	r := newReport(skipped(t, theirs, ours))
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	start := func(i int) *session {
		s, err := newSession(fmt.Sprintf("s%d", i), fmt.Sprint(2+i%2), theirs, ours, seed+uint64(i), r)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	empty := start(0)
	r.check(empty.clear())
	empty.close()
	var wg sync.WaitGroup
	// The last two are alone with the servers, one after the other, and count and remove all keys.
	alone := *commandsFlag / 12
	var all []*session
	for i := range sessions {
		s := start(i)
		s.empty = i == 0
		all = append(all, s)
		wg.Go(func() { r.check(s.run(ctx, (*commandsFlag-2*alone)/sessions+1)) })
	}
	wg.Wait()
	for i := range 2 {
		s := start(sessions + i)
		s.alone = true
		all = append(all, s)
		r.check(s.clear())
		r.check(s.run(ctx, alone))
	}
	var theirTime, ourTime time.Duration
	for _, s := range all {
		theirTime, ourTime = theirTime+s.theirs.took, ourTime+s.ours.took
	}
	say(t, "redis-server %s: %s", redisVersion(t, theirs), r.summary())
	say(t, "%v in all; waited for replies in %d sessions: theirs %v, ours %v",
		time.Since(began).Round(time.Millisecond), len(all), theirTime.Round(time.Millisecond), ourTime.Round(time.Millisecond))
	return r.findings()
}

// clear removes the keys of earlier sessions from both sides.
func (s *session) clear() error {
	theirs, ours, err := s.both(steps([]string{"FLUSHALL"}))
	if err == nil && (theirs[0].IsError() || ours[0].IsError()) {
		err = fmt.Errorf("FLUSHALL: theirs %v, ours %v", theirs[0], ours[0])
	}
	return err
}

// skipped names the commands that are not compared because one side lacks them.
func skipped(t *testing.T, theirs, ours string) []string {
	know, do := commandList(t, theirs), commandList(t, ours)
	var out []string
	for _, template := range templates {
		name, _, _ := strings.Cut(template.name, " ")
		switch {
		case name == "NOSUCHCOMMAND":
		case !know[name]:
			say(t, "redis-server lacks %s", name)
			out = append(out, template.name)
		case !do[name]:
			t.Errorf("COMMAND LIST does not name %s", name)
			out = append(out, template.name)
		}
	}
	return out
}
