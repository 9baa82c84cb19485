package http

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/jsontext"
)

// parameters are what each operation takes besides timeout_ms. All others are refused, so that a
// condition that is misspelt, or that the operation does not know, does not become none.
var parameters = map[string][]string{
	"get":       {"key_b64", "max_staleness_ms"},
	"put":       {"key_b64", "ttl_ms", "expires_at_ms", "keep_expiry", "if_absent", "if_present", "if_version"},
	"delete":    {"key_b64", "if_absent", "if_present", "if_version"},
	"increment": {"key_b64", "delta"},
	"scan": {
		"prefix", "prefix_b64", "start", "start_b64", "end", "end_b64", "limit", "reverse", "keys_only", "resume", "max_staleness_ms",
	},
	"status": nil,
}

// refuseIgnored refuses what the operation would not look at.
func refuseIgnored(op string, q query, r *http.Request) error {
	for name := range q {
		if name != "timeout_ms" && !slices.Contains(parameters[op], name) {
			return api.Errorf(api.CodeInvalid, "the query has a parameter that does not exist for this request; see docs/http.md")
		}
	}
	if (op == "delete" || op == "increment") && r.ContentLength != 0 {
		return api.Errorf(api.CodeInvalid, "of writes only PUT takes a body; what others are to do are parameters, see docs/http.md")
	}
	return nil
}

// query are the parameters of a request.
type query url.Values

func queryOf(r *http.Request) (query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, api.Errorf(api.CodeInvalid, "the query after ? is not percent-encoded")
	}
	for name, all := range values {
		if len(all) > 1 {
			return nil, api.Errorf(api.CodeInvalid, "parameter %s is given twice", name)
		}
	}
	return query(values), nil
}

func (q query) text(name string) (value string, given bool) {
	all := q[name]
	if len(all) == 0 {
		return "", false
	}
	return all[0], true
}

func (q query) number(name string, most uint64) (uint64, bool, error) {
	text, given := q.text(name)
	if !given {
		return 0, false, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > most {
		return 0, true, api.Errorf(api.CodeInvalid, "%s is not a number from 0 to %d", name, most)
	}
	return n, true, nil
}

// flag is true for a parameter without a value, too: ?reverse is ?reverse=true.
func (q query) flag(name string) (bool, error) {
	switch text, given := q.text(name); {
	case !given || text == "false":
		return false, nil
	case text == "" || text == "true":
		return true, nil
	default:
		return false, api.Errorf(api.CodeInvalid, "%s is neither true nor false", name)
	}
}

// bytes reads a parameter that may also be given as base64.
func (q query) bytes(name string) ([]byte, error) {
	text, plain := q.text(name)
	encoded, binary := q.text(name + "_b64")
	switch {
	case plain && binary:
		return nil, api.Errorf(api.CodeInvalid, "%s and %s_b64 exclude each other", name, name)
	case binary:
		return fromBase64(name+"_b64", encoded)
	}
	return []byte(text), nil
}

func (q query) staleness() (time.Duration, error) {
	millis, _, err := q.number("max_staleness_ms", uint64((24 * time.Hour).Milliseconds()))
	return time.Duration(millis) * time.Millisecond, err
}

func fromBase64(name, text string) ([]byte, error) {
	decoded, err := jsontext.Base64(text)
	if err != nil {
		return nil, api.Errorf(api.CodeInvalid, "%s is not base64", name)
	}
	return decoded, nil
}

// keyOf is the key that a request names in its path or as key_b64.
func keyOf(r *http.Request, q query) ([]byte, error) {
	encoded, binary := q.text("key_b64")
	path := r.PathValue("key")
	switch {
	case path != "" && binary:
		return nil, api.Errorf(api.CodeInvalid, "the key is given twice, in the path and as key_b64")
	case binary:
		return fromBase64("key_b64", encoded)
	case path == "":
		return nil, api.Errorf(api.CodeInvalid, "no key is given, neither in the path nor as key_b64")
	}
	return []byte(path), nil
}

// expiry is what a put says about it.
func (q query) expiry() (api.Expiry, error) {
	ttl, hasTTL, err := q.number("ttl_ms", 1<<53)
	if err != nil {
		return api.Expiry{}, err
	}
	at, hasAt, err := q.number("expires_at_ms", 1<<53)
	if err != nil {
		return api.Expiry{}, err
	}
	keep, err := q.flag("keep_expiry")
	if err != nil {
		return api.Expiry{}, err
	}
	switch {
	case hasTTL && hasAt || hasTTL && keep || hasAt && keep:
		return api.Expiry{}, api.Errorf(api.CodeInvalid, "ttl_ms, expires_at_ms and keep_expiry exclude each other")
	case hasTTL && ttl == 0 || hasAt && at == 0:
		return api.Expiry{}, api.Errorf(api.CodeInvalid, "an expiry of 0 is none; leave it out, or delete the key")
	case hasTTL:
		return api.Expiry{Mode: api.ExpiryAfter, Millis: ttl}, nil
	case hasAt:
		return api.Expiry{Mode: api.ExpiryAt, Millis: at}, nil
	case keep:
		return api.Expiry{Mode: api.ExpiryKeep}, nil
	}
	return api.Expiry{}, nil
}

// condition is what must hold for a write.
func (q query) condition() (api.Condition, error) {
	absent, err := q.flag("if_absent")
	if err != nil {
		return api.Condition{}, err
	}
	present, err := q.flag("if_present")
	if err != nil {
		return api.Condition{}, err
	}
	version, hasVersion, err := q.number("if_version", 1<<64-1)
	if err != nil {
		return api.Condition{}, err
	}
	switch {
	case absent && present || hasVersion && (absent || present):
		return api.Condition{}, api.Errorf(api.CodeInvalid, "if_absent, if_present and if_version exclude each other")
	case absent:
		return api.Condition{Kind: api.ConditionAbsent}, nil
	case present:
		return api.Condition{Kind: api.ConditionPresent}, nil
	case hasVersion:
		return api.Condition{Kind: api.ConditionVersion, Version: api.Version(version)}, nil
	}
	return api.Condition{}, nil
}

// readBody reads a body of at most maxBodyBytes. The caller releases the memory when it is done
// with the bytes.
func (d *data) readBody(r *http.Request) (body []byte, release func(), err error) {
	size := r.ContentLength
	if size > maxBodyBytes {
		return nil, nil, tooLarge(maxBodyBytes)
	}
	if size < 0 {
		size = maxBodyBytes // not said in advance
	}
	if release, err = d.hold(size); err != nil {
		return nil, nil, err
	}
	var buffer bytes.Buffer
	if r.ContentLength > 0 {
		buffer.Grow(int(size) + bytes.MinRead)
	}
	_, err = buffer.ReadFrom(io.LimitReader(r.Body, maxBodyBytes+1))
	if err == nil && buffer.Len() > maxBodyBytes {
		err = tooLarge(maxBodyBytes)
	} else if err != nil {
		err = errBody()
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return buffer.Bytes(), release, nil
}

func tooLarge(limit int) error {
	return api.Errorf(api.CodeTooLarge, "the body has more than %d bytes, which is the limit", limit)
}

func errBody() error {
	return api.Errorf(api.CodeInvalid, "the body ended early or came too slowly; nothing was executed")
}

// isJSON reports whether the body is JSON that has the value, and not the value itself.
func isJSON(r *http.Request) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && media == "application/json"
}

// valueFromJSON reads {"value": "text"} or {"value_b64": "base64"}.
func valueFromJSON(body []byte) ([]byte, error) {
	// Go's decoder would put a replacement for what is no character, and store another value.
	if !jsontext.Faithful(body) {
		return nil, api.Errorf(api.CodeInvalid, "the JSON of the body is not text; send binary values as value_b64 or as application/octet-stream")
	}
	var in struct {
		Value  *string `json:"value"`
		Binary *string `json:"value_b64"`
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		return nil, api.Errorf(api.CodeInvalid, "the body is not a JSON object with value or value_b64 and nothing else")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, api.Errorf(api.CodeInvalid, "the body goes on after the JSON object")
	}
	switch {
	case in.Value != nil && in.Binary == nil:
		return []byte(*in.Value), nil
	case in.Binary != nil && in.Value == nil:
		return fromBase64("value_b64", *in.Binary)
	}
	return nil, api.Errorf(api.CodeInvalid, "the body needs either value or value_b64")
}
