package node

import (
	"log/slog"
	"testing"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

func TestAReplicaIsOpenedWithAWayToTheOthers(t *testing.T) {
	r := &replicas{self: "a", dir: "shards", peers: replicaPeers{}, logger: slog.New(slog.DiscardHandler)}
	o := r.options(&pb.Shard{
		Id: 7, Epoch: 1, EndSlot: api.SlotCount,
		Replicas: []*pb.Replica{{NodeId: "b", Incarnation: 3}, {NodeId: "a", Incarnation: 4}},
		Founders: []*pb.Replica{{NodeId: "b", Incarnation: 3}, {NodeId: "c", Incarnation: 1}},
	}, 4)
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	if o.Peers == nil {
		t.Error("it cannot be compared with the others, so that S10 holds for no node")
	}
	if o.Dir != "shards/7-4" || o.PreferredLeader != "b" || len(o.Voters) != 2 {
		t.Errorf("%+v", o)
	}
}
