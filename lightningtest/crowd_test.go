package lightningtest_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/lightningtest"
)

// TestMoreLongValuesThanAShardKeepsAtOnceAreAllWritten: sixteen are as much as a shard keeps parts of before they
// are values, so if parts of all were brought at once, none would be complete.
func TestMoreLongValuesThanAShardKeepsAtOnceAreAllWritten(t *testing.T) {
	cluster := lightningtest.StartWith(t, lightningtest.Options{Nodes: 1, Shards: 1})
	db := cluster.Client(t)
	value := longValue(1, api.MaxValueBytes)
	var puts sync.WaitGroup
	for i := range 40 {
		puts.Go(func() {
			if _, err := db.PutFrom(t.Context(), 0, fmt.Appendf(nil, "key %d", i), bytes.NewReader(value), client.PutOptions{}); err != nil {
				t.Errorf("value %d: %v", i, err)
			}
		})
	}
	puts.Wait()
}
