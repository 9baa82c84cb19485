package raft

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
)

// TransferLeadership gives the leadership to the most caught-up voter that is connected, and returns
// when this replica does not lead any more. NOT_LEADER if it does not lead.
func (g *Group) TransferLeadership(ctx context.Context) error {
	i := g.current.Load()
	if i.raft.State() != hraft.Leader {
		return g.notLeader("group %s is led elsewhere", g.id)
	}
	successors := i.successors()
	if len(successors) == 0 {
		return api.Errorf(api.CodeUnavailable, "group %s has no other voter that is connected and answers", g.id)
	}
	return g.transferTo(ctx, i, successors[0])
}

// TransferLeadershipTo gives the leadership to the voter on a node, if that is connected and has just answered, and
// returns when this replica does not lead any more. NOT_LEADER if it does not lead; nothing is done
// if that is its own node.
func (g *Group) TransferLeadershipTo(ctx context.Context, node api.NodeID) error {
	i := g.current.Load()
	switch {
	case i.raft.State() != hraft.Leader:
		return g.notLeader("group %s is led elsewhere", g.id)
	case node == g.replica.Node:
		return nil
	}
	for _, id := range i.successors() {
		if nodeOf(hraft.ServerAddress(id)) == node {
			return g.transferTo(ctx, i, id)
		}
	}
	return api.Errorf(api.CodeUnavailable, "group %s has no voter on node %s that is connected and answers", g.id, node)
}

func (g *Group) transferTo(ctx context.Context, i *instance, target string) error {
	result, ok := i.transfer(target)
	if !ok {
		return g.unwell()
	}
	select {
	case err := <-result:
		if err != nil {
			return fmt.Errorf("transfer leadership of group %s: %w", g.id, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("transfer leadership of group %s: %w", g.id, ctx.Err())
	}
}

// transfer gives the leadership to another voter; false when the instance is closed.
func (i *instance) transfer(target string) (<-chan error, bool) {
	result := make(chan error, 1)
	ok := i.run(func() {
		f := i.raft.LeadershipTransferToServer(hraft.ServerID(target), hraft.ServerAddress(target))
		abandonable(f, i.stopped)
		err := f.Error()
		if err != nil {
			select {
			case i.transferFailed <- struct{}{}:
			default:
			}
		}
		result <- err
	})
	return result, ok
}

// handOverPause is between two tries to give a leadership away, and between two looks who has it.
const handOverPause = 5 * time.Millisecond

// HandOver gives away the leaderships of this node, all at once, each to the most caught-up voter
// that answers, and returns when each of those groups has another leader that this node knows of, or
// when ctx ends. The error says which were not given away.
func (h *Host) HandOver(ctx context.Context) error {
	groups := h.appendGroups(nil)
	errs := make([]error, len(groups))
	var wg sync.WaitGroup
	for k, g := range groups {
		wg.Go(func() { errs[k] = g.handOver(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// handOver tries until another node leads.
func (g *Group) handOver(ctx context.Context) error {
	if g.current.Load().raft.State() != hraft.Leader {
		return nil
	}
	pause := time.NewTicker(handOverPause)
	defer pause.Stop()
	for {
		err := g.TransferLeadership(ctx)
		if errors.Is(err, api.ErrNotLeader) {
			err = nil
			if leader, _ := g.Leader(); leader != "" && leader != g.replica.Node {
				return nil
			}
		}
		if g.soleVoter() || g.unwell() != nil {
			return nil // there is nobody to give it to
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("hand over group %s: %w", g.id, ctx.Err()), err)
		}
	}
}

// soleVoter reports whether no other replica could lead.
func (g *Group) soleVoter() bool {
	r := g.current.Load().raft
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if s.Suffrage == hraft.Voter && string(s.ID) != g.replica.String() {
			return false
		}
	}
	return true
}
