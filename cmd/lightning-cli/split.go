package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/client"
)

func (a *app) splitCommand() *cobra.Command {
	at := uint32(0)
	cmd := &cobra.Command{
		Use: "split SHARD", Short: "Split a shard in two, while it serves",
		Long: "Split a shard in two, while it serves: a new shard gets the slots from --at on, by default the upper half. It begins on\n" +
			"the nodes of the old one, and balancing moves it away from there. A split that has begun is not taken back, and\n" +
			"shards are not joined again.",
		Args: arguments(1, 1, "SHARD, its id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := shardID(args[0])
			if err != nil {
				return err
			}
			return a.withClient(func(c *client.Client) error { return a.split(cmd.Context(), c, id, at) })
		},
	}
	cmd.Flags().Uint32Var(&at, "at", 0, "the first slot of the new shard; 0 is the middle")
	return cmd
}

func (a *app) split(ctx context.Context, c *client.Client, id uint64, at uint32) error {
	if at == 0 {
		var err error
		if at, err = middle(ctx, c, id); err != nil {
			return err
		}
	}
	var r *pb.SplitShardResponse
	err := c.Admin(ctx, func(ctx context.Context, admin pb.AdminClient, o ...grpc.CallOption) (err error) {
		r, err = admin.SplitShard(ctx, &pb.SplitShardRequest{ShardId: id, AtSlot: at}, o...)
		return err
	})
	if err != nil {
		return err
	}
	v := clusterSplit{Shard: id, Child: r.ChildId, At: r.AtSlot}
	if a.json() {
		return a.printJSON(v)
	}
	return a.printf("shard %d is being split: slots from %d on go to shard %d: see lightning-cli cluster status\n", v.Shard, v.At, v.Child)
}

// middle finds where a shard is split by default. The order itself names the slot, so that it may be repeated. If a
// split of the shard is under way that one is meant.
func middle(ctx context.Context, c *client.Client, id uint64) (uint32, error) {
	s, err := c.Status(ctx)
	if err != nil {
		return 0, err
	}
	for _, shard := range s.GetMap().GetShards() {
		if shard.Id != id {
			continue
		}
		if shard.Split != nil {
			return shard.Split.AtSlot, nil
		}
		return shard.StartSlot + (shard.EndSlot-shard.StartSlot)/2, nil
	}
	return 0, usagef("the cluster has no shard %d: see lightning-cli shard list", id)
}

// clusterSplit is a shard that is being split, as both outputs show it.
type clusterSplit struct {
	Shard uint64 `json:"shard"`
	Child uint64 `json:"new_shard"`
	At    uint32 `json:"at_slot"`
}

func splitsOf(s *pb.ClusterStatusResponse) []clusterSplit {
	list := []clusterSplit{}
	for _, x := range s.Splitting {
		list = append(list, clusterSplit{Shard: x.ShardId, Child: x.ChildId, At: x.AtSlot})
	}
	return list
}

// String is its line in the status.
func (s clusterSplit) String() string {
	return fmt.Sprintf("shard %d: being split at slot %d into shard %d", s.Shard, s.At, s.Child)
}
