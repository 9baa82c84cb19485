package resp

import (
	"context"
	"strconv"
	"strings"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/glob"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// scanOptions are SCAN's arguments.
type scanOptions struct {
	cursor uint64
	count  int
	match  *glob.Pattern
	nobody bool // TYPE names a type that no key has
}

// defaultScanCount is Redis' own.
const defaultScanCount = 10

func parseScan(args [][]byte) (scanOptions, error) {
	o := scanOptions{count: defaultScanCount}
	var ok bool
	if o.cursor, ok = parseCursor(args[1]); !ok {
		return o, wire.Error("ERR invalid cursor")
	}
	for i := 2; i < len(args); i += 2 {
		if i+1 == len(args) {
			return o, wire.ErrSyntax
		}
		switch wire.Option(args[i]) {
		case "match":
			o.match = glob.New(args[i+1])
		case "count":
			n, ok := wire.ParseNumber(args[i+1])
			if !ok {
				return o, wire.ErrNotInteger
			}
			if n < 1 {
				return o, wire.ErrSyntax
			}
			o.count = int(min(n, api.MaxScanPageItems))
		case "type":
			o.nobody = !strings.EqualFold(string(args[i+1]), "string")
		default:
			return o, wire.ErrSyntax
		}
	}
	return o, nil
}

// parseCursor reads a number as C's strtoul does: nothing is 0, and there may be a sign.
func parseCursor(arg []byte) (uint64, bool) {
	if len(arg) == 0 {
		return 0, true
	}
	text := string(arg[:min(len(arg), wire.MaxWordBytes)])
	negative := text[0] == '-'
	if negative || text[0] == '+' {
		text = text[1:]
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if negative {
		n = -n
	}
	return n, err == nil
}

func onScan(ctx context.Context, c *conn, args [][]byte) error {
	o, err := parseScan(args)
	if err != nil {
		return err
	}
	if o.nobody {
		c.scanReply(0, nil)
		return nil
	}
	var prefix []byte
	if o.match != nil {
		prefix = o.match.LiteralPrefix()
	}
	if len(prefix) > api.MaxKeyBytes {
		c.scanReply(0, nil) // longer than any key
		return nil
	}
	page, err := c.server.opts.Store.ScanCursor(ctx, 0, o.cursor, o.count, prefix)
	if err != nil {
		return err
	}
	keys := page.Keys
	if o.match != nil {
		keys = keys[:0]
		for _, key := range page.Keys {
			matched, err := o.match.Match(key)
			if err != nil {
				return wire.Error("ERR " + err.Error())
			}
			if matched {
				keys = append(keys, key)
			}
		}
	}
	bytes := 0
	for _, key := range keys {
		bytes += len(key) + keyOverheadBytes
	}
	if err := c.holdReply(bytes); err != nil {
		return err
	}
	c.scanReply(page.Next, keys)
	return nil
}

func (c *conn) scanReply(next uint64, keys [][]byte) {
	c.out.Array(2)
	c.out.BulkString(strconv.FormatUint(next, 10))
	c.out.Array(len(keys))
	for _, key := range keys {
		c.out.Bulk(key)
	}
}
