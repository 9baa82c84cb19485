package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/lightning-db/lightning/router"
)

// respConn is a connection that speaks as much of the Redis protocol as the benchmark needs.
type respConn struct {
	net net.Conn
	in  *bufio.Reader
	out []byte
}

func dialRESP(ctx context.Context, address string) (*respConn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &respConn{net: c, in: bufio.NewReaderSize(c, 16<<10)}, nil
}

func (c *respConn) append(args ...[]byte) {
	c.out = append(c.out, '*')
	c.out = strconv.AppendInt(c.out, int64(len(args)), 10)
	c.out = append(c.out, '\r', '\n')
	for _, a := range args {
		c.out = append(c.out, '$')
		c.out = strconv.AppendInt(c.out, int64(len(a)), 10)
		c.out = append(c.out, '\r', '\n')
		c.out = append(c.out, a...)
		c.out = append(c.out, '\r', '\n')
	}
}

func (c *respConn) flush() error {
	_ = c.net.SetDeadline(time.Now().Add(20 * time.Second))
	_, err := c.net.Write(c.out)
	c.out = c.out[:0]
	return err
}

var (
	errReply = errors.New("the server replied with an error")
	errMoved = errors.New("another node serves the slot")
)

// skip reads one reply and forgets it; an error reply is an error.
func (c *respConn) skip() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	switch line[0] {
	case '-':
		if bytes.HasPrefix(line, []byte("-MOVED ")) {
			return errMoved
		}
		return fmt.Errorf("%w: %s", errReply, line[1:])
	case '$':
		n, err := strconv.Atoi(string(line[1:]))
		if err != nil || n < 0 {
			return err
		}
		_, err = c.in.Discard(n + 2)
		return err
	case '*':
		n, err := strconv.Atoi(string(line[1:]))
		for range n {
			if err := c.skip(); err != nil {
				return err
			}
		}
		return err
	}
	return nil
}

func (c *respConn) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return line, nil
}

// value reads a reply as nested strings.
func (c *respConn) value() (any, error) {
	line, err := c.line()
	if err != nil {
		return nil, err
	}
	switch line[0] {
	case '-':
		return nil, fmt.Errorf("%w: %s", errReply, line[1:])
	case '$':
		n, err := strconv.Atoi(string(line[1:]))
		if err != nil || n < 0 {
			return "", err
		}
		b := make([]byte, n+2)
		_, err = io.ReadFull(c.in, b)
		return string(b[:n]), err
	case '*':
		n, err := strconv.Atoi(string(line[1:]))
		if err != nil {
			return nil, err
		}
		var items []any
		for range n {
			v, err := c.value()
			if err != nil {
				return nil, err
			}
			items = append(items, v)
		}
		return items, nil
	}
	return string(line[1:]), nil
}

// slotMap says which node serves a slot.
type slotMap struct {
	owner     [16384]uint8
	addresses []string
}

// fetchSlots asks a node of a cluster.
func fetchSlots(ctx context.Context, address string) (*slotMap, error) {
	c, err := dialRESP(ctx, address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.net.Close() }()
	c.append([]byte("CLUSTER"), []byte("SLOTS"))
	if err := c.flush(); err != nil {
		return nil, err
	}
	reply, err := c.value()
	if err != nil {
		return nil, err
	}
	m, index := &slotMap{}, map[string]uint8{}
	ranges, _ := reply.([]any)
	covered := 0
	for _, each := range ranges {
		r, ok := each.([]any)
		if !ok || len(r) < 3 {
			return nil, fmt.Errorf("CLUSTER SLOTS: %v", reply)
		}
		start, _ := strconv.Atoi(fmt.Sprint(r[0]))
		end, _ := strconv.Atoi(fmt.Sprint(r[1]))
		node, _ := r[2].([]any)
		if len(node) < 2 {
			return nil, fmt.Errorf("CLUSTER SLOTS: %v", reply)
		}
		at := net.JoinHostPort(fmt.Sprint(node[0]), fmt.Sprint(node[1]))
		if _, known := index[at]; !known {
			index[at] = uint8(len(m.addresses))
			m.addresses = append(m.addresses, at)
		}
		for slot := start; slot <= end; slot++ {
			m.owner[slot] = index[at]
			covered++
		}
	}
	if covered != len(m.owner) {
		return nil, fmt.Errorf("CLUSTER SLOTS covers %d slots of %d", covered, len(m.owner))
	}
	return m, nil
}

// respClient is a client of one node, or of a cluster whose slots it knows.
type respClient struct {
	seed  string
	slots *atomic.Pointer[slotMap] // nil: one node serves all; shared by the clients of a workload
	conns map[string]*respConn
	wait  bool // Redis: every batch of writes ends with WAIT 1
	stale bool // after READONLY, at one node
}

func (c *respClient) conn(ctx context.Context, address string) (*respConn, error) {
	if conn := c.conns[address]; conn != nil {
		return conn, nil
	}
	conn, err := dialRESP(ctx, address)
	if err != nil {
		return nil, err
	}
	if c.stale {
		conn.append([]byte("READONLY"))
		if err := conn.flush(); err != nil {
			return nil, err
		}
		if err := conn.skip(); err != nil {
			return nil, err
		}
	}
	c.conns[address] = conn
	return conn, nil
}

func (c *respClient) address(o op) string {
	if c.slots == nil || c.stale {
		return c.seed
	}
	m := c.slots.Load()
	return m.addresses[m.owner[router.Slot(0, o.key)]]
}

var commandSet, commandGet, commandWait, one, zero = []byte("SET"), []byte("GET"), []byte("WAIT"), []byte("1"), []byte("0")

// do sends the operations of each node together and reads all replies. Those that another node
// serves now are asked there, as a cluster-aware client does.
func (c *respClient) do(ctx context.Context, ops []op) error {
	for range maxRedirects {
		moved, err := c.try(ctx, ops)
		if err != nil || len(moved) == 0 {
			return err
		}
		m, err := fetchSlots(ctx, c.seed)
		if err != nil {
			return err
		}
		c.slots.Store(m)
		ops = moved
	}
	return errors.New("the slot keeps moving")
}

const maxRedirects = 10

// sent is what was sent to one node.
type sent struct {
	conn *respConn
	ops  []op
}

func (c *respClient) try(ctx context.Context, ops []op) (moved []op, err error) {
	var nodes []sent
	wrote := false
	for _, o := range ops {
		conn, err := c.conn(ctx, c.address(o))
		if err != nil {
			return nil, err
		}
		at := 0
		for at < len(nodes) && nodes[at].conn != conn {
			at++
		}
		if at == len(nodes) {
			nodes = append(nodes, sent{conn: conn})
		}
		nodes[at].ops = append(nodes[at].ops, o)
		if o.value == nil {
			conn.append(commandGet, o.key)
		} else {
			conn.append(commandSet, o.key, o.value)
			wrote = true
		}
	}
	for i := range nodes {
		if c.wait && wrote {
			nodes[i].conn.append(commandWait, one, zero)
		}
		if err := nodes[i].conn.flush(); err != nil {
			c.drop()
			return nil, err
		}
	}
	for i := range nodes {
		more, err := c.replies(&nodes[i], c.wait && wrote)
		if err != nil {
			c.drop()
			return nil, err
		}
		moved = append(moved, more...)
	}
	return moved, nil
}

// replies reads what a node answers; after an error the connection is of no more use.
func (c *respClient) replies(n *sent, waits bool) (moved []op, err error) {
	for i := range n.ops {
		switch err := n.conn.skip(); {
		case c.slots != nil && errors.Is(err, errMoved):
			moved = append(moved, n.ops[i])
		case err != nil:
			return nil, err
		}
	}
	if waits {
		return moved, n.conn.skip()
	}
	return moved, nil
}

// drop closes all connections: their replies cannot be told apart any more.
func (c *respClient) drop() {
	for _, conn := range c.conns {
		_ = conn.net.Close()
	}
	c.conns = map[string]*respConn{}
}

func (c *respClient) close() { c.drop() }
