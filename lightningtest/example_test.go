package lightningtest_test

import (
	"testing"

	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/lightningtest"
)

// A test that kills the node which holds what it reads.
func Example() {
	_ = func(t *testing.T) { // func TestReadsOutliveANode(t *testing.T) {
		cluster := lightningtest.Start(t, 3)
		db := cluster.Client(t)
		if _, err := db.Put(t.Context(), 0, []byte("k"), []byte("v"), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		cluster.KillNode(cluster.Leader("k"))
		if item, err := db.Get(t.Context(), 0, []byte("k")); err != nil || string(item.Value) != "v" {
			t.Errorf("%+v, %v", item, err)
		}
	}
}
