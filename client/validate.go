package client

import "github.com/lightning-db/lightning/api"

// What can never succeed is refused here, before it costs a round trip. The servers check the
// same again.

func validateKey(key []byte) error {
	switch {
	case len(key) == 0:
		return api.Errorf(api.CodeInvalid, "a key needs at least one byte")
	case len(key) > api.MaxKeyBytes:
		return api.Errorf(api.CodeTooLarge, "a key of %d bytes is over the limit of %d", len(key), api.MaxKeyBytes)
	}
	return nil
}

func validateKeys(keys [][]byte) error {
	if len(keys) > api.MaxBatchOps {
		return api.Errorf(api.CodeTooLarge, "a read of %d keys is over the limit of %d", len(keys), api.MaxBatchOps)
	}
	for _, key := range keys {
		if err := validateKey(key); err != nil {
			return err
		}
	}
	return nil
}
