package shard

import (
	"fmt"

	"github.com/lightning-db/lightning/internal/evaluate"
)

// The header of a value row: a format and a type (docs/formats/keys.md). Version and expiry
// are the engine row's own.
const (
	valueFormat      = 1
	valueHeaderBytes = 2
)

// typeString is the type of a plain value. Other types get metadata rows of their own later.
const typeString = 1

// encodeValue puts the header before a plain value.
func encodeValue(value []byte) []byte {
	row := make([]byte, 0, valueHeaderBytes+len(value))
	row = append(row, valueFormat, typeString)
	return append(row, value...)
}

// decodeValue takes the header off. The result aliases row.
func decodeValue(row []byte) ([]byte, error) {
	if len(row) < valueHeaderBytes {
		return nil, fmt.Errorf("value row of %d bytes: %w", len(row), errMalformed)
	}
	if row[0] != valueFormat || row[1] != typeString {
		return nil, fmt.Errorf("value row has format %d and type %d, which this build does not know", row[0], row[1])
	}
	return row[valueHeaderBytes:], nil
}

// expired says whether an expiry has come at a time; an expiry of 0 never does.
func expired(expiryMillis, nowMillis uint64) bool { return evaluate.Expired(expiryMillis, nowMillis) }
