package membership

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"strconv"

	"github.com/google/uuid"

	"github.com/lightning-db/lightning/api"
)

// The layout of what a node tells about itself, which memberlist limits to 512 bytes:
//
//	format u8 = 1 | flags u8 | boot u64 | expect uvarint | node id | name | zone | cluster id |
//	grpc, resp, http address | resp cluster address, if there is one |
//	CRC32C u32, of everything before it
//
//	flags    bits 0-1 stage, bit 2 restarting
//	id       u8: 0 none, 1 UUID (16 bytes), 2 text
//	text     length uvarint | bytes
//	address  u8: 0 none, 1 host text and port u16, 2 the host of the address before and port u16,
//	         3 text
//
// Integers are big-endian.
const (
	infoFormat   = 1
	maxInfoBytes = 512 // memberlist.MetaMaxSize

	stageMask      = 0b011
	restartingFlag = 0b100

	idNone, idUUID, idText                            = 0, 1, 2
	addressNone, addressHost, addressSame, addressRaw = 0, 1, 2, 3
)

// encodeInfo fails if the result exceeds what memberlist carries.
func encodeInfo(i Info, boot uint64) ([]byte, error) {
	flags := byte(i.Stage) & stageMask
	if i.Restarting {
		flags |= restartingFlag
	}
	b := []byte{infoFormat, flags}
	b = binary.BigEndian.AppendUint64(b, boot)
	b = binary.AppendUvarint(b, uint64(i.Expect))
	b = appendID(b, string(i.Node))
	b = appendText(b, i.Name)
	b = appendText(b, i.Zone)
	b = appendID(b, i.Cluster)
	host := ""
	addresses := []string{i.GRPCAddress, i.RESPAddress, i.HTTPAddress}
	if i.RESPClusterAddress != "" {
		addresses = append(addresses, i.RESPClusterAddress)
	}
	for _, address := range addresses {
		b, host = appendAddress(b, address, host)
	}
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	if len(b) > maxInfoBytes {
		return nil, fmt.Errorf("name (%d bytes), zone (%d) and host (%d) are too long for gossip: together %d bytes, allowed are %d",
			len(i.Name), len(i.Zone), len(host), len(b), maxInfoBytes)
	}
	return b, nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendID(b []byte, id string) []byte {
	if id == "" {
		return append(b, idNone)
	}
	if u, err := uuid.Parse(id); err == nil && u.String() == id {
		return append(append(b, idUUID), u[:]...)
	}
	return appendText(append(b, idText), id)
}

// appendAddress returns the host too, for the next address to share.
func appendAddress(b []byte, address, before string) ([]byte, string) {
	if address == "" {
		return append(b, addressNone), before
	}
	host, portText, err := net.SplitHostPort(address)
	port, portErr := strconv.ParseUint(portText, 10, 16)
	if err != nil || portErr != nil || net.JoinHostPort(host, strconv.FormatUint(port, 10)) != address {
		return appendText(append(b, addressRaw), address), before
	}
	if host == before && host != "" {
		b = append(b, addressSame)
	} else {
		b = appendText(append(b, addressHost), host)
	}
	return binary.BigEndian.AppendUint16(b, uint16(port)), host
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errInfo = errors.New("malformed node description")

// decodeInfo reads what encodeInfo wrote and refuses anything else.
func decodeInfo(b []byte) (Info, uint64, error) {
	body := len(b) - crc32.Size
	if body < 0 || crc32.Checksum(b[:body], castagnoli) != binary.BigEndian.Uint32(b[body:]) {
		return Info{}, 0, errInfo
	}
	r := reader{rest: b[:body]}
	if r.byte() != infoFormat {
		return Info{}, 0, errInfo
	}
	flags := r.byte()
	boot := r.uint64()
	i := Info{Stage: Stage(flags & stageMask), Restarting: flags&restartingFlag != 0}
	expect := r.uvarint()
	i.Expect = int(expect)
	i.Node = api.NodeID(r.id())
	i.Name = r.text()
	i.Zone = r.text()
	i.Cluster = r.id()
	host := ""
	for _, address := range []*string{&i.GRPCAddress, &i.RESPAddress, &i.HTTPAddress} {
		*address, host = r.address(host)
	}
	if len(r.rest) > 0 {
		i.RESPClusterAddress, _ = r.address(host)
	}
	if r.bad || len(r.rest) > 0 || i.Node == "" || flags&^(stageMask|restartingFlag) != 0 || i.Stage > Joined || expect > maxExpect {
		return Info{}, 0, errInfo
	}
	return i, boot, nil
}

// maxExpect bounds what a description may claim; it is above any cluster that can be formed.
const maxExpect = 1 << 16

// reader takes values off the front; after the first that is not there, bad is set and all are zero.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if r.bad || n <= 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) text() string { return string(r.take(r.uvarint())) }

func (r *reader) id() string {
	switch r.byte() {
	case idNone:
	case idUUID:
		if b := r.take(16); b != nil {
			return uuid.UUID(b).String()
		}
	case idText:
		return r.text()
	default:
		r.bad = true
	}
	return ""
}

func (r *reader) address(before string) (address, host string) {
	switch r.byte() {
	case addressNone:
		return "", before
	case addressHost:
		host = r.text()
	case addressSame:
		host = before
	case addressRaw:
		return r.text(), before
	default:
		r.bad = true
		return "", before
	}
	return net.JoinHostPort(host, strconv.Itoa(int(r.uint16()))), host
}
