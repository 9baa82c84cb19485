package transfer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

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

// writeLine writes an item and returns the bytes.
func writeLine(w *bufio.Writer, item api.Item) (int, error) {
	l := line{ExpiresAt: item.ExpiryMillis}
	l.Key, l.KeyBinary = jsontext.Split(item.Key)
	l.Value, l.ValueBinary = jsontext.Split(item.Value)
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(l); err != nil {
		return 0, err
	}
	return w.Write(text.Bytes())
}

// maxLineBytes bounds a line: the longest escape of JSON has six bytes for one.
const maxLineBytes = 6*(api.MaxKeyBytes+api.MaxValueBytes) + 1024

var errLongLine = fmt.Errorf("the line has more than %d bytes", maxLineBytes)

// readLine reads the next line, of any length, but keeps no more than maxLineBytes of it. The
// bytes are valid until the next call. At the end the error is io.EOF.
func readLine(r *bufio.Reader, buffer *[]byte) ([]byte, error) {
	*buffer = (*buffer)[:0]
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
