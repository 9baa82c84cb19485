package http

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/jsontext"
)

// errorJSON is an error as clients see it.
type errorJSON struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Next    string `json:"next"`
	// Retry says that the same request may succeed, perhaps on another node.
	Retry bool `json:"retry"`
	// MayHaveRun says that a write may have been executed.
	MayHaveRun bool `json:"may_have_run"`
}

func errorOf(err error) errorJSON {
	row := api.Row(api.CodeOf(err))
	return errorJSON{
		Code: string(row.Code), Message: err.Error(), Next: row.Next, Retry: row.Retry, MayHaveRun: row.Outcome == api.MayHaveRun,
	}
}

// itemJSON is a key as JSON shows it. Bytes that are not UTF-8 are base64 in the second field, and
// versions are texts, because they do not fit into the numbers of JavaScript.
type itemJSON struct {
	Key         *string `json:"key,omitempty"`
	KeyBase64   *[]byte `json:"key_b64,omitempty"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 *[]byte `json:"value_b64,omitempty"`
	// ValueBytes stands for a value that is too long to be shown: its length.
	ValueBytes   uint64 `json:"value_bytes,omitempty"`
	Version      string `json:"version"`
	ExpiryMillis uint64 `json:"expires_at_ms,omitempty"`
}

func itemOf(i api.Item, keysOnly bool) itemJSON {
	out := itemJSON{Version: versionText(i.Version), ExpiryMillis: i.ExpiryMillis}
	out.Key, out.KeyBase64 = jsontext.Split(i.Key)
	switch {
	case keysOnly:
	case i.Stored != nil:
		out.ValueBytes = i.Stored.Bytes
	default:
		out.Value, out.ValueBase64 = jsontext.Split(i.Value)
	}
	return out
}

func versionText(v api.Version) string { return strconv.FormatUint(uint64(v), 10) }

// setHeaders are those of every answer about the data.
func setHeaders(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}

func setVersion(w http.ResponseWriter, v api.Version) {
	w.Header().Set("X-Lightning-Version", versionText(v))
}

// answerJSON writes one object. A client that is gone does not need it.
func answerJSON(w http.ResponseWriter, status int, object any) {
	setHeaders(w, "application/json")
	w.WriteHeader(status)
	_ = newEncoder(w).Encode(object)
}

func newEncoder(w http.ResponseWriter) *json.Encoder {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder
}

// refuse answers in the form of every error of this server.
func refuse(w http.ResponseWriter, err error) {
	row := api.Row(api.CodeOf(err))
	switch row.HTTP {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="lightning"`)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	answerJSON(w, row.HTTP, errorOf(err))
}
