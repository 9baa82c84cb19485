package rows

import (
	"encoding/binary"
	"fmt"

	"github.com/lightning-db/lightning/api"
)

// The header of a value row: a format and a type. Version and expiry are the engine row's own.
const (
	valueFormat      = 1
	valueHeaderBytes = 2
)

// typeString is the type of a plain value. Other types get metadata rows of their own later.
const typeString = 1

// typeParts is the type of a plain value whose bytes are in parts, in rows of their own.
const typeParts = 2

// partsBytes is the length of a row that names parts.
const partsBytes = valueHeaderBytes + 8 + 4 + 4 + 8 + 4

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

// AppendParts encodes the row of a value that is in parts:
//
//	format u8 = 1 | type u8 = 2 | id u64 | first u32 | count u32 | bytes u64 | checksum u32
func AppendParts(dst []byte, p *api.Parts) []byte {
	dst = append(dst, valueFormat, typeParts)
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.ID))
	dst = binary.BigEndian.AppendUint32(dst, p.First)
	dst = binary.BigEndian.AppendUint32(dst, p.Count)
	dst = binary.BigEndian.AppendUint64(dst, p.Bytes)
	return binary.BigEndian.AppendUint32(dst, p.Checksum)
}

// Decode decodes a value row: a value, which aliases it, or where its parts are.
func Decode(row []byte) ([]byte, *api.Parts, error) {
	if len(row) < valueHeaderBytes || row[0] != valueFormat || row[1] != typeParts {
		value, err := DecodeValue(row)
		return value, nil, err
	}
	if len(row) != partsBytes {
		return nil, nil, fmt.Errorf("value row of %d bytes names no parts", len(row))
	}
	row = row[valueHeaderBytes:]
	p := &api.Parts{
		ID: api.Version(binary.BigEndian.Uint64(row)), First: binary.BigEndian.Uint32(row[8:]), Count: binary.BigEndian.Uint32(row[12:]),
		Bytes: binary.BigEndian.Uint64(row[16:]), Checksum: binary.BigEndian.Uint32(row[24:]),
	}
	if p.ID == 0 || p.Bytes == 0 || p.Bytes > api.MaxValueBytes || p.Count != api.PartCount(p.Bytes) || p.First > ^uint32(0)-p.Count {
		return nil, nil, fmt.Errorf("value row names %d parts of %d bytes", p.Count, p.Bytes)
	}
	return nil, p, nil
}
