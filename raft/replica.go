package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/raft/wire"
)

// GroupID names a Raft group. A shard's group has the number of its shard.
type GroupID uint64

// MetaGroup is the group that holds the cluster map; no shard has its number.
const MetaGroup GroupID = 0

// String prints the number, as log lines and file names use it.
func (g GroupID) String() string { return strconv.FormatUint(uint64(g), 10) }

// ReplicaID is the identity of one member of one group for as long as its disk lives. It is
// not an address, and a replica that lost its disk comes back under another incarnation,
// because it has forgotten its votes.
type ReplicaID struct {
	Node        api.NodeID
	Incarnation uint64
}

// String is "<node>#<incarnation>", which is what hashicorp/raft stores and compares.
func (r ReplicaID) String() string {
	return string(r.Node) + "#" + strconv.FormatUint(r.Incarnation, 10)
}

// ParseReplicaID reads what String printed.
func ParseReplicaID(s string) (ReplicaID, error) {
	node, incarnation, ok := strings.Cut(s, "#")
	if !ok || node == "" {
		return ReplicaID{}, fmt.Errorf("replica id %q is not <node>#<incarnation>", s)
	}
	n, err := strconv.ParseUint(incarnation, 10, 64)
	if err != nil {
		return ReplicaID{}, fmt.Errorf("replica id %q: incarnation: %w", s, err)
	}
	return ReplicaID{Node: api.NodeID(node), Incarnation: n}, nil
}

// Server is one member of a configuration.
type Server struct {
	Replica ReplicaID
	Voter   bool // false: receives entries, does not count
}

// Configuration is the membership of a group and the index of the entry that set it.
type Configuration struct {
	Index   api.Index
	Servers []Server
}

// Voters are the replicas that count towards a majority.
func (c Configuration) Voters() []ReplicaID {
	var voters []ReplicaID
	for _, s := range c.Servers {
		if s.Voter {
			voters = append(voters, s.Replica)
		}
	}
	return voters
}

const configurationFormat = 1

// maxServers bounds the members of a group; a decoder allocates no more for a damaged count.
const maxServers = 128

// Marshal encodes the configuration:
//
//	format u8 = 1 | index uvarint | count uvarint | count × { voter u8 | incarnation uvarint | length uvarint | node }
//
// It carries no checksum of its own: whoever stores it checksums the record it is part of.
func (c Configuration) Marshal() []byte {
	b := []byte{configurationFormat}
	b = binary.AppendUvarint(b, uint64(c.Index))
	b = binary.AppendUvarint(b, uint64(len(c.Servers)))
	for _, s := range c.Servers {
		voter := byte(0)
		if s.Voter {
			voter = 1
		}
		b = append(b, voter)
		b = binary.AppendUvarint(b, s.Replica.Incarnation)
		b = binary.AppendUvarint(b, uint64(len(s.Replica.Node)))
		b = append(b, s.Replica.Node...)
	}
	return b
}

var errConfiguration = errors.New("malformed configuration")

// UnmarshalConfiguration decodes what Marshal wrote and refuses anything else.
func UnmarshalConfiguration(b []byte) (Configuration, error) {
	d := wire.Decoder{Rest: b}
	if format := d.Byte(); d.Bad || format != configurationFormat {
		return Configuration{}, errConfiguration
	}
	c := Configuration{Index: api.Index(d.Uvarint())}
	count := d.Uvarint()
	if d.Bad || count > maxServers {
		return Configuration{}, errConfiguration
	}
	for range count {
		voter := d.Byte()
		incarnation := d.Uvarint()
		node := d.Bytes(d.Uvarint())
		if d.Bad || voter > 1 || len(node) == 0 {
			return Configuration{}, errConfiguration
		}
		c.Servers = append(c.Servers, Server{
			Replica: ReplicaID{Node: api.NodeID(node), Incarnation: incarnation}, Voter: voter == 1,
		})
	}
	if len(d.Rest) != 0 {
		return Configuration{}, errConfiguration
	}
	return c, nil
}

// toLibrary is the configuration as hashicorp/raft holds it. Id and address are the same text:
// votes are compared by address, so an address must never pass from one replica to another.
func (c Configuration) toLibrary() hraft.Configuration {
	var out hraft.Configuration
	for _, s := range c.Servers {
		suffrage := hraft.Nonvoter
		if s.Voter {
			suffrage = hraft.Voter
		}
		id := s.Replica.String()
		out.Servers = append(out.Servers, hraft.Server{
			Suffrage: suffrage, ID: hraft.ServerID(id), Address: hraft.ServerAddress(id),
		})
	}
	return out
}

func configurationFromLibrary(index uint64, in hraft.Configuration) (Configuration, error) {
	c := Configuration{Index: api.Index(index)}
	for _, s := range in.Servers {
		id, err := ParseReplicaID(string(s.ID))
		if err != nil {
			return Configuration{}, fmt.Errorf("configuration at index %d: %w", index, err)
		}
		c.Servers = append(c.Servers, Server{Replica: id, Voter: s.Suffrage == hraft.Voter})
	}
	return c, nil
}

// nodeOf is the node of a replica id in the library's form; empty if there is none.
func nodeOf(address hraft.ServerAddress) api.NodeID {
	id, err := ParseReplicaID(string(address))
	if err != nil {
		return ""
	}
	return id.Node
}
