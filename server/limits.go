package server

import (
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/evaluate"
)

func checkNamespace(ns api.Namespace) error {
	if ns != 0 {
		return api.Errorf(api.CodeInvalid, "namespace %d does not exist; there is only namespace 0", ns)
	}
	return nil
}

// checkKeys refuses a read of several keys that is too much (V4).
func checkKeys(ns api.Namespace, keys [][]byte) error {
	if err := checkNamespace(ns); err != nil {
		return err
	}
	if len(keys) > api.MaxBatchOps {
		return errManyKeys(len(keys))
	}
	for _, key := range keys {
		if refusal := evaluate.CheckKey(key); refusal != nil {
			return refusal
		}
	}
	return nil
}

func errManyKeys(count int) error {
	return api.Errorf(api.CodeTooLarge, "request for %d keys is over the limit of %d keys", count, api.MaxBatchOps)
}

// checkBatch refuses a batch that no shard takes (V4) and tells its size.
func checkBatch(b *api.Batch) (bytes int, err error) {
	if err := checkNamespace(b.Namespace); err != nil {
		return 0, err
	}
	bytes, refusal := evaluate.Check(b)
	if refusal != nil {
		return 0, refusal
	}
	return bytes, nil
}

// checkRange refuses a range whose bounds are too long (V4). The smallest bound above the longest
// key is one byte longer than a key may be.
func checkRange(r *api.Range) error {
	if err := checkNamespace(r.Namespace); err != nil {
		return err
	}
	if err := checkStaleness(r.MaxStaleness); err != nil {
		return err
	}
	for _, bound := range [][]byte{r.Start, r.End} {
		if len(bound) > api.MaxKeyBytes+1 {
			return api.Errorf(api.CodeTooLarge, "bound of %d bytes is over the limit of %d bytes for a key", len(bound), api.MaxKeyBytes)
		}
	}
	return nil
}

func checkStaleness(bound time.Duration) error {
	if bound < 0 {
		return api.Errorf(api.CodeInvalid, "a staleness of %s is negative", bound)
	}
	return nil
}
