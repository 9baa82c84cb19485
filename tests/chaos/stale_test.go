package chaos

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/history"
	"github.com/lightning-db/lightning/tests/workload"
)

var staleRounds = flag.Int("chaos.stale-rounds", 6, "reads from deposed leaders")

// TestDeposedLeaderAnswersNoRead runs the scripted stale read: the leader is cut from both peers but not from
// one client; a new leader acknowledges a write; then that client reads from the old one.
func TestDeposedLeaderAnswersNoRead(t *testing.T) {
	t.Parallel() // with the next one: both mostly wait for elections
	c := cluster.Start(t, cluster.Options{Netns: true, Args: []string{"--shards", "1"}})
	refused := 0
	for i := range *staleRounds {
		ops, readError := readFromDeposedLeader(t, c, i, time.Second)
		if readError != nil {
			refused++
		} else {
			t.Errorf("round %d: the deposed leader answered", i)
		}
		if _, err := history.Check(history.Register, ops, time.Second); err != nil {
			t.Errorf("round %d: %v", i, err)
		}
		if i == 0 {
			say(t, "the read from the deposed leader ended with: %v", readError)
		}
	}
	say(t, "normal build: the deposed leader refused %d of %d reads", refused, *staleRounds)
}

// TestSkippedReadIndexIsCaughtEveryTime shows that the test above has teeth: with the check taken out the
// old value comes back, and the checker rejects the history.
func TestSkippedReadIndexIsCaughtEveryTime(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Netns: true, Args: []string{"--shards", "1"},
		Tags: []string{"seededbug"}, Env: []string{"LIGHTNING_SEEDED_BUG=skip-read-index"}})
	stale, rejected := 0, 0
	for i := range *staleRounds {
		ops, readError := readFromDeposedLeader(t, c, i, recovery) // it answers at once
		if readError != nil {
			t.Errorf("round %d: the read failed: %v", i, readError)
			continue
		}
		if last := ops[len(ops)-1]; last.Output.Value == oldValue {
			stale++
		}
		if _, err := history.Check(history.Register, ops, time.Second); errors.Is(err, history.ErrNotLinearizable) {
			rejected++
		}
	}
	say(t, "build with the seeded bug: %d of %d reads returned the old value, porcupine rejected %d of %d histories",
		stale, *staleRounds, rejected, *staleRounds)
	if stale != *staleRounds || rejected != *staleRounds {
		t.Errorf("the seeded bug was not caught every time")
	}
}

const (
	oldValue = "old"
	newValue = "new"
)

// readFromDeposedLeader is one round on a key of its own, with so much time for the read. It returns the history, whose last operation is the
// read if it was answered, and the read's error.
func readFromDeposedLeader(t *testing.T, c *cluster.Cluster, round int, limit time.Duration) ([]history.Operation, error) {
	t.Helper()
	old, shards := c.LeaderOfMost(recovery)
	r := history.NewRecorder()
	key := fmt.Sprintf("stale/%d", round)
	attached, err := workload.DialGRPC(old.GRPC, nil) // the client that stays connected to the old leader
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()
	do(t, r, attached, history.Input{Kind: history.Write, Key: key, Value: oldValue})
	do(t, r, attached, history.Input{Kind: history.Read, Key: key})

	c.Isolate(old)
	successor := c.WaitLeaderMoves(shards[0], old, recovery)
	other, err := workload.DialGRPC(successor.GRPC, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	do(t, r, other, history.Input{Kind: history.Write, Key: key, Value: newValue})

	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	in := history.Input{Kind: history.Read, Key: key}
	pending := r.Begin(1, in)
	out, readError := attached.Perform(ctx, in)
	if readError == nil {
		pending.OK(out)
	} else {
		pending.Unknown(readError.Error())
	}
	c.Heal()
	waitFollows(t, c, old, shards[0])
	return r.Operations(), readError
}

// do repeats an operation until it is acknowledged. What is repeated is the same write of the same value, recorded
// as one operation that began with the first attempt, so an attempt with an unknown outcome does no harm.
func do(t *testing.T, r *history.Recorder, s workload.Store, in history.Input) {
	t.Helper()
	pending := r.Begin(2, in)
	cluster.Eventually(t, recovery, fmt.Sprintf("%v acknowledged", in), func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		out, err := s.Perform(ctx, in)
		if err == nil {
			out.Version = 0 // of the last attempt, not of the operation
			pending.OK(out)
		}
		return err
	})
}

// waitFollows waits until node is a ready follower of somebody again.
func waitFollows(t *testing.T, c *cluster.Cluster, n *cluster.Node, shard uint64) {
	t.Helper()
	cluster.Eventually(t, recovery, n.Name+" follows after healing", func() error {
		status, err := n.Status(t.Context())
		if err != nil {
			return err
		}
		for _, r := range status.Replicas {
			if r.ShardId == shard && r.Role == "follower" && r.LeaderId != "" && r.LeaderId != status.NodeId {
				return nil
			}
		}
		return fmt.Errorf("%v", status.Replicas)
	})
}
