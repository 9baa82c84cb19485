package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/jsontext"
)

// itemJSON is a key as JSON shows it.
type itemJSON struct {
	Key          *string `json:"key,omitempty"`
	KeyBase64    *[]byte `json:"key_b64,omitempty"`
	Found        *bool   `json:"found,omitempty"`
	Value        *string `json:"value,omitempty"`
	ValueBase64  *[]byte `json:"value_b64,omitempty"`
	Version      string  `json:"version,omitempty"`
	ExpiryMillis uint64  `json:"expires_at_ms,omitempty"`
	TTLMillis    *int64  `json:"ttl_ms,omitempty"` // by this machine's clock
}

func itemOf(i api.Item, keysOnly bool) itemJSON {
	out := itemJSON{ExpiryMillis: i.ExpiryMillis}
	out.Key, out.KeyBase64 = jsontext.Split(i.Key)
	if !i.Found {
		return out
	}
	out.Version = versionText(i.Version)
	if !keysOnly {
		out.Value, out.ValueBase64 = jsontext.Split(i.Value)
	}
	return out
}

// foundOf adds what a get shows beyond what a scan does.
func (a *app) foundOf(i api.Item) itemJSON {
	out := itemOf(i, false)
	out.Found = &i.Found
	if i.ExpiryMillis != 0 {
		ttl := max(int64(i.ExpiryMillis)-time.Now().UnixMilli(), 0)
		out.TTLMillis = &ttl
	}
	return out
}

func versionText(v api.Version) string { return strconv.FormatUint(uint64(v), 10) }

// printJSON prints one object on a line.
func (a *app) printJSON(v any) error {
	encoder := json.NewEncoder(a.stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

func (a *app) printf(format string, args ...any) error {
	if _, err := fmt.Fprintf(a.stdout, format, args...); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// escape makes bytes fit on a line between tabs: backslashes, what cannot be printed and what is
// not UTF-8 become Go escapes, all else stays.
func escape(b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, `\x%02x`, b[0])
		case r == '\\':
			out.WriteString(`\\`)
		case unicode.IsPrint(r):
			out.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			out.WriteString(quoted[1 : len(quoted)-1])
		}
		b = b[size:]
	}
	return out.String()
}
