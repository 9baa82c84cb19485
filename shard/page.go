package shard

import (
	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/router"
)

// Page is one page of a scan.
type Page struct {
	// Items are live keys in the order of the scan; with Range.KeysOnly without values.
	Items []api.Item
	// Arc is what the page covered: keys in other slots are not in it even if they exist.
	Arc router.Arc
	// More says that the range may hold further keys. A page may be empty and yet have more.
	More bool
	// Resume is where the next page goes on: its Range.Start or, in a reverse scan, its
	// Range.End. Set when More is.
	Resume []byte
}
