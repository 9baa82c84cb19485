package restore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"

	"github.com/lightning-db/lightning/api"
)

// contents are rows of which only count and digest are kept. Those that expire may be gone when they are compared.
type contents struct {
	persistent, expiring uint64
	// digest is the sum of the digests of the persistent rows: their order does not matter.
	digest uint64
}

func (c *contents) add(key, value []byte, expiryMillis uint64) {
	if expiryMillis != 0 {
		c.expiring++
		return
	}
	c.persistent++
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(key))))
	h.Write(key)
	h.Write(value)
	c.digest += binary.BigEndian.Uint64(h.Sum(nil))
}

// read scans a cluster.
func read(ctx context.Context, from Cluster) (contents, error) {
	var c contents
	for item, err := range from.Scan(ctx, api.Range{}) {
		if err != nil {
			return c, err
		}
		c.add(item.Key, item.Value, item.ExpiryMillis)
	}
	return c, nil
}

// compare fails unless found is what is wanted, but for rows that have expired meanwhile.
func (c *contents) compare(found contents) error {
	if found.persistent != c.persistent || found.digest != c.digest || found.expiring > c.expiring {
		return api.Errorf(api.CodeInternal, "the cluster is not what the backup is: of %d keys that do not expire, and %d that do, it has %d (digest %s) and %d; somebody else has written into it, or it was not empty",
			c.persistent, c.expiring, found.persistent, sameText(found.digest == c.digest), found.expiring)
	}
	return nil
}

func sameText(same bool) string {
	if same {
		return "equal"
	}
	return "different"
}
