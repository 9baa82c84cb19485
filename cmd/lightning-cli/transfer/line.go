package transfer

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/jsontext"
)

// line is one key as JSON.
type line struct {
	Key         *string         `json:"key,omitempty"`
	KeyBinary   *[]byte         `json:"key_b64,omitempty"`
	Value       *string         `json:"value,omitempty"`
	ValueBinary *[]byte         `json:"value_b64,omitempty"`
	ExpiresAt   uint64          `json:"expires_at_ms,omitempty"`
	Version     json.RawMessage `json:"version,omitempty"` // read only, and ignored
}

// writeLine writes an item and returns the bytes. What it makes of a long value is never in memory as a whole.
func writeLine(w *bufio.Writer, item api.Item) (int, error) {
	l := lineWriter{w: w}
	l.text("{")
	l.field("key", item.Key)
	l.text(",")
	l.field("value", item.Value)
	if item.ExpiryMillis != 0 {
		l.text(`,"expires_at_ms":` + strconv.FormatUint(item.ExpiryMillis, 10))
	}
	l.text("}\n")
	return l.bytes, l.err
}

// lineWriter writes a line in pieces, until the first error.
type lineWriter struct {
	w     io.Writer
	bytes int
	err   error
}

// Write implements io.Writer.
func (l *lineWriter) Write(p []byte) (int, error) {
	if l.err == nil {
		var n int
		n, l.err = l.w.Write(p)
		l.bytes += n
	}
	return len(p), l.err
}

func (l *lineWriter) text(s string) { _, _ = io.WriteString(l, s) } // the error stays

// pieceBytes is how much of a text is escaped at a time.
const pieceBytes = 64 << 10

// field writes some bytes as a text or, when they are none, as base64.
func (l *lineWriter) field(name string, b []byte) {
	if !utf8.Valid(b) {
		l.text(`"` + name + `_b64":"`)
		encoder := base64.NewEncoder(base64.StdEncoding, l)
		_, _ = encoder.Write(b)
		_ = encoder.Close() // as the write: the error stays
		l.text(`"`)
		return
	}
	l.text(`"` + name + `":"`)
	var piece bytes.Buffer
	encoder := json.NewEncoder(&piece)
	encoder.SetEscapeHTML(false)
	for len(b) > 0 && l.err == nil {
		n := min(len(b), pieceBytes)
		for n < len(b) && !utf8.RuneStart(b[n]) {
			n--
		}
		piece.Reset()
		if err := encoder.Encode(string(b[:n])); err != nil {
			l.err = err
			return
		}
		quoted := bytes.TrimSuffix(piece.Bytes(), []byte("\n"))
		_, _ = l.Write(quoted[1 : len(quoted)-1])
		b = b[n:]
	}
	l.text(`"`)
}

// maxLineBytes bounds a line: the longest escape of JSON has six bytes for one.
const maxLineBytes = 6*(api.MaxKeyBytes+api.MaxValueBytes) + 1024

var errLongLine = fmt.Errorf("the line has more than %d bytes", maxLineBytes)

// readLine reads the next line, of any length, but keeps no more than maxLineBytes of it. The
// bytes are valid until the next call. At the end the error is io.EOF.
func readLine(r *bufio.Reader, buffer *[]byte) ([]byte, error) {
	if *buffer = (*buffer)[:0]; cap(*buffer) > bufferBytes {
		*buffer = nil // a long line is rare
	}
	long := false
	for {
		piece, err := r.ReadSlice('\n')
		if long = long || len(*buffer)+len(piece) > maxLineBytes; !long {
			*buffer = append(*buffer, piece...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(*buffer) > 0 && !long:
			return *buffer, nil // the last line may lack its line feed
		case err != nil && !(errors.Is(err, io.EOF) && long):
			return nil, err
		case long:
			return nil, errLongLine
		}
		return *buffer, nil
	}
}

// parseLine reads one line. Errors do not repeat what is in it.
func parseLine(text []byte) (api.Item, error) {
	if !jsontext.Faithful(text) {
		return api.Item{}, errors.New("not UTF-8; keys and values that are not belong into key_b64 and value_b64")
	}
	var l line
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&l); err != nil {
		return api.Item{}, errors.New("not an object with key or key_b64, value or value_b64, and perhaps expires_at_ms")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return api.Item{}, errors.New("more follows after the object")
	}
	item := api.Item{ExpiryMillis: l.ExpiresAt}
	var err error
	if item.Key, err = either("key", l.Key, l.KeyBinary); err != nil {
		return item, err
	}
	if item.Value, err = either("value", l.Value, l.ValueBinary); err != nil {
		return item, err
	}
	switch {
	case len(item.Key) == 0:
		err = errors.New("the key is empty")
	case len(item.Key) > api.MaxKeyBytes:
		err = fmt.Errorf("the key has more than %d bytes, which is the limit", api.MaxKeyBytes)
	case len(item.Value) > api.MaxValueBytes:
		err = fmt.Errorf("the value has more than %d bytes, which is the limit", api.MaxValueBytes)
	}
	return item, err
}

func either(name string, text *string, binary *[]byte) ([]byte, error) {
	switch {
	case text != nil && binary != nil:
		return nil, fmt.Errorf("both %s and %s_b64", name, name)
	case text != nil:
		return []byte(*text), nil
	case binary != nil:
		return *binary, nil
	}
	return nil, fmt.Errorf("neither %s nor %s_b64", name, name)
}
