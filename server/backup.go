package server

import (
	"context"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/backup/record"
	"github.com/lightning-db/lightning/shard"
)

// Backup streams the shard that owns a slot, if this node leads it. It is not forwarded: the client
// goes where the error says.
func (s *Server) Backup(ctx context.Context, slot api.Slot, begin func(shard.Cut) error, add func(*record.Record) error) error {
	table := s.opts.Router.Table()
	if table == nil {
		return errNoMap()
	}
	owner := table.ShardOf(slot)
	local, held := s.opts.Local(owner.ID)
	if !held {
		err := api.Errorf(api.CodeNotLeader, "shard %d is not on this node", owner.ID)
		err.Shard = owner.ID
		if leader, known := s.opts.Router.Leader(owner.ID); known && leader != s.opts.Node {
			err.Leader = leader
		}
		return err
	}
	return local.Backup(ctx, begin, add)
}
