package client

import "github.com/lightning-db/lightning/api"

// What can never succeed is refused here, before it costs a round trip. The servers check the
// same again.

func validateKey(key []byte) error {
	switch {
	case len(key) == 0:
		return api.Errorf(api.CodeInvalid, "the key is empty")
	case len(key) > api.MaxKeyBytes:
		return api.Errorf(api.CodeTooLarge, "the key has %d bytes, the limit is %d", len(key), api.MaxKeyBytes)
	}
	return nil
}

func validateBatch(b api.Batch) error {
	switch {
	case len(b.Ops) == 0:
		return api.Errorf(api.CodeInvalid, "the batch is empty")
	case len(b.Ops) > api.MaxBatchOps:
		return api.Errorf(api.CodeTooLarge, "the batch has %d operations, the limit is %d", len(b.Ops), api.MaxBatchOps)
	}
	size := 0
	for _, op := range b.Ops {
		if err := validateKey(op.Key); err != nil {
			return err
		}
		if len(op.Value) > api.MaxValueBytes {
			return api.Errorf(api.CodeTooLarge, "the value has %d bytes, the limit is %d", len(op.Value), api.MaxValueBytes)
		}
		size += len(op.Key) + len(op.Value)
	}
	if size > api.MaxBatchBytes {
		return api.Errorf(api.CodeTooLarge, "the batch has %d bytes of keys and values, the limit is %d", size, api.MaxBatchBytes)
	}
	return nil
}
