package scenarios

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/tests/cluster"
)

// TestTwoClustersThatMeetStayTwo starts a node of one cluster with the address of another, so that they gossip, as happens when a list of
// addresses is copied. Nobody may take a node, a map or a key from the other side.
func TestTwoClustersThatMeetStayTwo(t *testing.T) {
	one := cluster.Start(t, cluster.Options{Nodes: 1, Alone: true, Args: []string{"--name", "one"}})
	two := cluster.Start(t, cluster.Options{Nodes: 1, Alone: true, Args: []string{"--name", "two"}})
	ids := map[*cluster.Cluster]string{}
	for _, c := range []*cluster.Cluster{one, two} {
		ids[c] = c.Nodes[0].MustStatus().GetMap().GetClusterId()
		greeting(t, c, ids[c])
	}
	if ids[one] == ids[two] || ids[one] == "" {
		t.Fatalf("the clusters are %v", ids)
	}
	first := one.Nodes[0]
	first.Stop()
	first.Run("--join", two.Nodes[0].Addr)
	first.WaitReady(2 * time.Minute)
	// A node that is told of both belongs to neither, unless somebody says to which.
	stranger := cluster.Start(t, cluster.Options{Nodes: 1, Alone: true, Unstarted: true})
	stranger.Nodes[0].Run("--join", one.Nodes[0].Addr+","+two.Nodes[0].Addr)
	cluster.Eventually(t, 2*time.Minute, "the stranger's reason", func() error {
		if stranger.Nodes[0].Running() {
			if err := stranger.Nodes[0].Ready(context.Background()); err == nil {
				t.Fatal("the stranger has joined one of two clusters")
			} else if !strings.Contains(err.Error(), "two clusters") {
				return err
			}
			return nil
		}
		return fmt.Errorf("the stranger has ended: %s", stranger.Nodes[0].LogTail(1000))
	})
	for _, c := range []*cluster.Cluster{one, two} {
		m := c.Nodes[0].MustStatus().GetMap()
		if m.GetClusterId() != ids[c] || len(m.GetNodes()) != 1 {
			t.Errorf("cluster %s is %s with nodes %v", ids[c], m.GetClusterId(), m.GetNodes())
		}
		greeting(t, c, ids[c])
	}
}

// greeting writes a key if it is not there, and expects it to be what this cluster wrote.
func greeting(t *testing.T, c *cluster.Cluster, value string) {
	t.Helper()
	sdk, err := client.New(client.Options{Addresses: []string{c.Nodes[0].GRPC}, DefaultTimeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sdk.Close() }()
	if _, err := sdk.Put(t.Context(), 0, []byte("greeting"), []byte(value), client.PutOptions{Condition: api.Condition{Kind: api.ConditionAbsent}}); err != nil {
		t.Fatal(err)
	}
	if item, err := sdk.Get(t.Context(), 0, []byte("greeting")); err != nil || string(item.Value) != value {
		t.Errorf("the greeting of cluster %s is %q, %v", value, item.Value, err)
	}
}
