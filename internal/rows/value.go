package rows

import "fmt"

// The header of a value row: a format and a type. Version and expiry are the engine row's own.
const (
	valueFormat      = 1
	valueHeaderBytes = 2
)

// typeString is the type of a plain value. Other types get metadata rows of their own later.
const typeString = 1

// EncodeValue puts the header before a plain value.
func EncodeValue(value []byte) []byte {
	return AppendValue(make([]byte, 0, valueHeaderBytes+len(value)), value)
}

// AppendValue is EncodeValue into a buffer.
func AppendValue(dst, value []byte) []byte {
	dst = append(dst, valueFormat, typeString)
	return append(dst, value...)
}

// DecodeValue takes the header off. The result aliases row.
func DecodeValue(row []byte) ([]byte, error) {
	if len(row) < valueHeaderBytes {
		return nil, fmt.Errorf("value row of %d bytes is malformed", len(row))
	}
	if row[0] != valueFormat || row[1] != typeString {
		return nil, fmt.Errorf("value row has format %d and type %d, which this build does not know", row[0], row[1])
	}
	return row[valueHeaderBytes:], nil
}
