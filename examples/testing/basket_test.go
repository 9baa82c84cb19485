package basket

import (
	"sync"
	"testing"

	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/lightningtest"
)

// Most tests need no cluster: an embedded store has the same interface and the same rules.
func TestArticlesAddUp(t *testing.T) {
	db, err := engine.Open(t.TempDir(), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	kv := client.Embedded(db, client.EmbeddedOptions{})
	t.Cleanup(func() { _, _ = kv.Close(), db.Close() })

	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := Add(t.Context(), kv, "ada", "tea", 1); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if basket, err := Add(t.Context(), kv, "ada", "cup", 2); err != nil || basket["tea"] != 10 || basket["cup"] != 2 {
		t.Errorf("%v, %v", basket, err)
	}
}

// What is about faults runs on real nodes.
func TestABasketOutlivesTheNodeThatHeldIt(t *testing.T) {
	cluster := lightningtest.Start(t, 3)
	db := cluster.Client(t)
	if _, err := Add(t.Context(), db, "ada", "tea", 1); err != nil {
		t.Fatal(err)
	}
	cluster.KillNode(cluster.Leader("basket/ada"))
	if basket, err := Add(t.Context(), db, "ada", "tea", 1); err != nil || basket["tea"] != 2 {
		t.Errorf("%v, %v", basket, err)
	}
}
