package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// Command encodes one command.
func Command(args ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.Bytes()
}

// Value is one reply.
type Value struct {
	Kind  byte    // the first byte on the wire: + - : $ * _ # , ( = ! % ~ >
	Text  string  // of a reply that is no aggregate; a null has none
	Null  bool    // _, $-1 or *-1
	Items []Value // of an aggregate; those of a map are key, value, key, value
	Raw   string  // the bytes as they came
}

// IsError reports whether the reply is an error.
func (v Value) IsError() bool { return v.Kind == '-' || v.Kind == '!' }

// Number is the integer that the reply is.
func (v Value) Number() (int64, bool) {
	n, err := strconv.ParseInt(v.Text, 10, 64)
	return n, err == nil && v.Kind == ':'
}

// String is for messages of failed tests.
func (v Value) String() string {
	if len(v.Raw) > 400 {
		return fmt.Sprintf("%q and %d bytes more", v.Raw[:400], len(v.Raw)-400)
	}
	return strconv.Quote(v.Raw)
}

// Conn is a connection to a server that speaks the protocol. Not safe for concurrent use.
type Conn struct {
	net.Conn
	in *bufio.Reader
}

// Dial connects to address; every later wait ends at limit from now.
func Dial(address string, limit time.Duration) (*Conn, error) {
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	return New(c), nil
}

// New reads replies from c.
func New(c net.Conn) *Conn { return &Conn{Conn: c, in: bufio.NewReaderSize(c, 64<<10)} }

// Do sends one command and waits for one reply.
func (c *Conn) Do(args ...string) (Value, error) {
	if _, err := c.Write(Command(args...)); err != nil {
		return Value{}, err
	}
	return c.Next()
}

// Next takes one reply in.
func (c *Conn) Next() (Value, error) {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return Value{}, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return Value{}, fmt.Errorf("a reply begins with the line %q", line)
	}
	v := Value{Kind: line[0], Text: line[1 : len(line)-2], Raw: line}
	switch v.Kind {
	case '+', '-', ':', ',', '#', '(':
		return v, nil
	case '_':
		v.Null = true
		return v, nil
	case '$', '!', '=':
		return c.bulk(v)
	case '*', '%', '~', '>':
		return c.aggregate(v)
	}
	return Value{}, fmt.Errorf("a reply begins with the line %q", line)
}

func (c *Conn) bulk(v Value) (Value, error) {
	size, err := strconv.Atoi(v.Text)
	if err != nil {
		return Value{}, fmt.Errorf("the length of a bulk is %q", v.Text)
	}
	if size < 0 {
		v.Null, v.Text = true, ""
		return v, nil
	}
	body := make([]byte, size+2)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return Value{}, err
	}
	if string(body[size:]) != "\r\n" {
		return Value{}, fmt.Errorf("a bulk of %d bytes ends with %q", size, body[size:])
	}
	v.Text, v.Raw = string(body[:size]), v.Raw+string(body)
	return v, nil
}

func (c *Conn) aggregate(v Value) (Value, error) {
	count, err := strconv.Atoi(v.Text)
	if err != nil {
		return Value{}, fmt.Errorf("the length of an aggregate is %q", v.Text)
	}
	v.Text = ""
	if count < 0 {
		v.Null = true
		return v, nil
	}
	if v.Kind == '%' {
		count *= 2
	}
	raw := []byte(v.Raw)
	for range count {
		item, err := c.Next()
		if err != nil {
			return Value{}, err
		}
		v.Items = append(v.Items, item)
		raw = append(raw, item.Raw...)
	}
	v.Raw = string(raw)
	return v, nil
}
