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
