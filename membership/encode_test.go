package membership

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"strings"
	"testing"
)

func example() Info {
	return Info{
		Node: "0b3f6d0e-6f0a-4d3e-9c55-0a1b2c3d4e5f", Name: "node-1", Zone: "b", Expect: 3, Stage: Joined,
		Cluster:     "7f3a1c8e-1111-4222-8333-444455556666",
		GRPCAddress: "10.0.0.1:8379", RESPAddress: "10.0.0.1:6379", HTTPAddress: "10.0.0.1:9379",
	}
}

func TestDescriptionsAreReadAsTheyWereWritten(t *testing.T) {
	for name, i := range map[string]Info{
		"usual":     example(),
		"empty":     {Node: "a"},
		"leaving":   {Node: "a", Name: "b", Stage: Pledged, Restarting: true, GRPCAddress: "[::1]:1", RESPAddress: "h:0", HTTPAddress: "h:65535"},
		"odd":       {Node: "0B3F6D0E-6F0A-4D3E-9C55-0A1B2C3D4E5F", Cluster: "c", GRPCAddress: "no port", RESPAddress: ":1", HTTPAddress: "h:01"},
		"cluster":   {Node: "a", GRPCAddress: "h1:1", HTTPAddress: "h1:3", RESPClusterAddress: "h1:7379"},
		"two hosts": {Node: "a", GRPCAddress: "h1:1", RESPAddress: "h2:2", HTTPAddress: "h2:3"},
	} {
		b, err := encodeInfo(i, 42)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, boot, err := decodeInfo(b)
		if err != nil || boot != 42 || got != i {
			t.Errorf("%s: got %+v, boot %d, %v; want %+v", name, got, boot, err, i)
		}
	}
}

// TestDescriptionLayoutNeverChanges holds what nodes of another version send.
func TestDescriptionLayoutNeverChanges(t *testing.T) {
	const want = "0102" + "000000000000002a" + "03" + // format, flags, boot, expect
		"010b3f6d0e6f0a4d3e9c550a1b2c3d4e5f" + "066e6f64652d31" + "0162" + // id, name, zone
		"017f3a1c8e111142228333444455556666" + // cluster
		"010831302e302e302e3120bb" + "0218eb" + "0224a3" + // grpc, resp, http
		"69266ee2" // CRC32C
	b, err := encodeInfo(example(), 42)
	if got := hex.EncodeToString(b); err != nil || got != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	// The address of the cluster listener stands behind the others, where it was not always.
	wantCluster := want[:len(want)-8] + "021cd3" + "93e1309d"
	i := example()
	i.RESPClusterAddress = "10.0.0.1:7379"
	b, err = encodeInfo(i, 42)
	if got := hex.EncodeToString(b); err != nil || got != wantCluster {
		t.Errorf("got %s, %v\nwant %s", got, err, wantCluster)
	}
}

func TestTheLongestNameAndHostFitIntoGossip(t *testing.T) {
	i := example()
	i.Name = strings.Repeat("n", 64)
	host := strings.Repeat("h", 253)
	i.GRPCAddress, i.RESPAddress, i.HTTPAddress, i.RESPClusterAddress = host+":8379", host+":6379", host+":9379", host+":7379"
	i.Zone = strings.Repeat("z", 64)
	if _, err := encodeInfo(i, 1); err != nil {
		t.Error(err)
	}
	i.Zone = strings.Repeat("z", 512)
	if _, err := encodeInfo(i, 1); err == nil {
		t.Error("a description that memberlist would panic on is accepted")
	}
}

func TestDamagedDescriptionsAreRefused(t *testing.T) {
	b, err := encodeInfo(example(), 42)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(b) * 8 {
		bad := bytes.Clone(b)
		bad[bit/8] ^= 1 << (bit % 8)
		if i, _, err := decodeInfo(bad); err == nil {
			t.Errorf("bit %d: %+v", bit, i)
		}
	}
}

func FuzzDecodeInfo(f *testing.F) {
	b, _ := encodeInfo(example(), 42)
	f.Add(b, false)
	f.Add(b[:len(b)-crc32.Size], true)
	withCluster := example()
	withCluster.RESPClusterAddress = "10.0.0.1:7379"
	b, _ = encodeInfo(withCluster, 42)
	f.Add(b, false)
	f.Add([]byte{}, false)
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 'a', 0, 0, 0, 3, 1, 'x', 0, 0}, true)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal { // get past the checksum
			b = binary.BigEndian.AppendUint32(bytes.Clone(b), crc32.Checksum(b, castagnoli))
		}
		i, boot, err := decodeInfo(b)
		if err != nil {
			return
		}
		again, err := encodeInfo(i, boot)
		if err != nil {
			return // longer than what fits, as several spellings of one address may be
		}
		j, boot2, err := decodeInfo(again)
		if err != nil || boot2 != boot || j != i {
			t.Fatalf("%x reads as %+v, written again as %+v (%v)", b, i, j, err)
		}
	})
}
