package basket

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
)

// Basket is how many of each article a customer has taken.
type Basket map[string]int

// Add puts articles into a customer's basket and returns it. It takes an api.KV, so it runs on a
// cluster, on an embedded store, and on whatever a test puts in their place.
func Add(ctx context.Context, kv api.KV, customer, article string, count int) (Basket, error) {
	key := []byte("basket/" + customer)
	for {
		item, err := kv.Get(ctx, 0, key)
		if err != nil {
			return nil, fmt.Errorf("read the basket of %s: %w", customer, err)
		}
		basket := Basket{}
		if item.Found {
			if err := json.Unmarshal(item.Value, &basket); err != nil {
				return nil, fmt.Errorf("the basket of %s: %w", customer, err)
			}
		}
		basket[article] += count
		value, err := json.Marshal(basket)
		if err != nil {
			return nil, err
		}
		version, err := client.CompareAndSwap(ctx, kv, 0, key, value, item.Version)
		if err != nil {
			return nil, fmt.Errorf("write the basket of %s: %w", customer, err)
		}
		if version != 0 {
			return basket, nil
		}
		// Somebody else was faster: what was read is old.
	}
}
