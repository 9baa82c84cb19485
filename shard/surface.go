package shard

import (
	"context"
	"errors"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/raft"
)

var errSurface = errors.New("not linked yet")

type Shard struct{}

func Open(host *raft.Host, o Options) (*Shard, error) { return nil, errSurface }

func (s *Shard) Apply(ctx context.Context, c Command) (api.Result, error) {
	return api.Result{}, errSurface
}
func (s *Shard) Get(ctx context.Context, epoch api.Epoch, ns api.Namespace, keys [][]byte) ([]api.Item, error) {
	return nil, errSurface
}
func (s *Shard) Scan(ctx context.Context, epoch api.Epoch, r api.Range) (Page, error) {
	return Page{}, errSurface
}
func (s *Shard) Count(ctx context.Context, epoch api.Epoch, ns api.Namespace) (uint64, error) {
	return 0, errSurface
}
func (s *Shard) ID() api.ShardID                { return 0 }
func (s *Shard) Group() *raft.Group             { return nil }
func (s *Shard) Leader() (api.NodeID, api.Term) { return "", 0 }
func (s *Shard) Status() *pb.ReplicaStatus      { return nil }
func (s *Shard) Flush() error                   { return errSurface }
func (s *Shard) Snapshot() error                { return errSurface }
func (s *Shard) Close() error                   { return errSurface }
