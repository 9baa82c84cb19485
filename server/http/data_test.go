package http

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/server"
)

var _ Store = (*server.Server)(nil)

// face is a server and the store behind it, without a network.
type face struct {
	*testing.T
	store   *store
	metrics *Metrics
	handler http.Handler
}

func newFace(t *testing.T) *face {
	f := &face{T: t, store: &store{}}
	f.metrics = NewMetrics("v1", "node-1", func() []*pb.ReplicaStatus { return nil })
	well := func() error { return nil }
	f.handler = New(Options{Alive: well, Ready: well, Metrics: f.metrics, Store: f.store}).http.Handler
	return f
}

// do sends a request; headers are "name: value".
func (f *face) do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	return w
}

func (f *face) want(status int, fragment, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	f.Helper()
	w := f.do(method, target, body, headers...)
	if w.Code != status || !strings.Contains(w.Body.String(), fragment) {
		f.Errorf("%s %s: %d %s, want %d and %q", method, target, w.Code, w.Body, status, fragment)
	}
	return w
}

func TestAnyBytesMakeAKeyAndAValue(t *testing.T) {
	f := newFace(t)
	for _, key := range []string{"a", "a/b", "a//b", "..", "ü", "a b+c%", "\xff\x00", "?x=y&z", ".", "%2f"} {
		for _, value := range []string{"", "text", "\xfe\x00\n", `"quoted"`, strings.Repeat("x", 1<<20)} {
			path := "/v1/kv/" + strings.NewReplacer(".", "%2E", "+", "%2B").Replace(url.PathEscape(key))
			binary := "/v1/kv?key_b64=" + base64.RawURLEncoding.EncodeToString([]byte(key))
			f.want(200, `"applied":true`, "PUT", path, value, "Content-Type: application/octet-stream")
			for _, target := range []string{path, binary} {
				if w := f.do("GET", target, "", "Accept: application/octet-stream"); w.Code != 200 || w.Body.String() != value {
					t.Errorf("%q: %d, %d bytes, want %d", key, w.Code, w.Body.Len(), len(value))
				}
			}
			var item itemJSON
			w := f.do("GET", binary, "")
			if err := json.Unmarshal(w.Body.Bytes(), &item); err != nil {
				t.Fatal(err)
			}
			if got := either(item.Key, item.KeyBase64); got != key {
				t.Errorf("key %q came back as %q", key, got)
			}
			if got := either(item.Value, item.ValueBase64); got != value {
				t.Errorf("a value of %d bytes came back as %d bytes", len(value), len(got))
			}
			if item.Version == "" || w.Header().Get("X-Lightning-Version") != item.Version {
				t.Errorf("version %q, header %q", item.Version, w.Header().Get("X-Lightning-Version"))
			}
		}
	}
}

func either(text *string, binary *[]byte) string {
	if text != nil {
		return *text
	}
	if binary != nil {
		return string(*binary)
	}
	return "(neither)"
}

func TestJSONBodiesGiveTextOrBase64(t *testing.T) {
	f := newFace(t)
	for body, want := range map[string]string{
		`{"value":"hällo\n"}`: "hällo\n", `{"value_b64":"/wA="}`: "\xff\x00", `{"value_b64":"_wA"}`: "\xff\x00", `{"value":""}`: "",
		`{"value":"\ud83d\ude00"}`: "😀", `{"value":"\\ud800"}`: `\ud800`,
	} {
		f.want(200, "applied", "PUT", "/v1/kv/k", body, "Content-Type: application/json; charset=utf-8")
		if got := string(f.store.items["k"].Value); got != want {
			t.Errorf("%s stored %q", body, got)
		}
	}
	before := f.store.version
	for _, body := range []string{
		``, `{}`, `"text"`, `{"value":"a","value_b64":"YQ=="}`, `{"value":1}`, `{"value":"a"} {}`, `{"value":"a","ttl":1}`, `{"value_b64":"*"}`,
		"{\"value\":\"\xff\"}", `{"value":"\ud800"}`, `{"value":"\udc00\ud800"}`, `{"value":"\ud800\u0041"}`, `null`, `[]`,
	} {
		f.want(400, `"code":"INVALID"`, "PUT", "/v1/kv/k", body, "Content-Type: application/json")
	}
	if f.store.version != before {
		t.Error("a body that was refused was written")
	}
}

func TestExpiryAndConditions(t *testing.T) {
	f := newFace(t)
	f.want(412, `"applied":false`, "PUT", "/v1/kv/k?if_present", "a")
	f.want(200, `"version":"1"`, "PUT", "/v1/kv/k?if_absent&ttl_ms=5000", "a")
	f.want(412, `"applied":false`, "PUT", "/v1/kv/k?if_absent=true", "b")
	f.want(200, `"expires_at_ms":1005000`, "GET", "/v1/kv/k", "")
	f.want(200, `"version":"2"`, "PUT", "/v1/kv/k?if_version=1&keep_expiry", "b")
	f.want(200, `"expires_at_ms":1005000`, "GET", "/v1/kv/k", "")
	f.want(200, `"version":"3"`, "PUT", "/v1/kv/k?expires_at_ms=77", "c")
	if w := f.want(200, "c", "GET", "/v1/kv/k", "", "Accept: application/octet-stream"); w.Header().Get("X-Lightning-Expires-At-Ms") != "77" {
		t.Error(w.Header())
	}
	f.want(412, `"applied":false`, "DELETE", "/v1/kv/k?if_version=1", "")
	f.want(200, `"existed":true`, "DELETE", "/v1/kv/k?if_version=3", "")
	f.want(200, `"existed":false`, "DELETE", "/v1/kv/k", "")
	f.want(404, `"code":"NOT_FOUND"`, "GET", "/v1/kv/k", "")
	f.want(200, `"number":1}`, "POST", "/v1/incr/n", "")
	f.want(200, `"number":-41}`, "POST", "/v1/incr/n?delta=-42", "")
}

func TestRequestsThatMakeNoSenseAreRefused(t *testing.T) {
	f := newFace(t)
	for _, target := range []string{
		"/v1/kv", "/v1/kv/?ttl_ms=1", "/v1/kv/k?key_b64=aw", "/v1/kv?key_b64=*", "/v1/kv/k?ttl=5", "/v1/kv/k?ttl_ms=-1", "/v1/kv/k?ttl_ms=0",
		"/v1/kv/k?ttl_ms=1&expires_at_ms=2", "/v1/kv/k?if_absent&if_present", "/v1/kv/k?if_absent=1", "/v1/kv/k?if_absent&if_version=1",
		"/v1/kv/k?ttl_ms=1&ttl_ms=2", "/v1/kv/k?timeout_ms=60001", "/v1/kv/k?%zz", "/v1/kv/k?keep_expiry&ttl_ms=3", "/v1/kv/k?expires_at_ms=99999999999999999999",
	} {
		if w := f.do("PUT", target, "v"); w.Code != 400 && w.Code != 404 || !strings.Contains(w.Body.String(), `"code":"INVALID"`) {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	for _, target := range []string{
		"/v1/scan?prefix=a&start=b", "/v1/scan?start=a&start_b64=YQ", "/v1/scan?limit=x", "/v1/scan?resume=", "/v1/scan?resume=*", "/v1/scan?reverse=yes",
	} {
		f.want(400, `"code":"INVALID"`, "GET", target, "")
	}
	if f.store.version != 0 {
		t.Error("something was written")
	}
	f.want(404, `"code":"INVALID"`, "GET", "/v1/keys", "")
	f.want(404, "not by POST", "POST", "/v1/kv/k", "v")
}

func TestWhatARequestWouldIgnoreIsRefused(t *testing.T) {
	f := newFace(t)
	f.want(200, `"number":1}`, "POST", "/v1/incr/n", "")
	for _, request := range [][2]string{
		{"POST", "/v1/incr/n?if_version=9"}, {"POST", "/v1/incr/n?ttl_ms=5"}, {"PUT", "/v1/kv/n?delta=5"}, {"DELETE", "/v1/kv/n?ttl_ms=5"},
		{"GET", "/v1/kv/n?if_version=9"}, {"GET", "/v1/kv/n?prefix=n"}, {"GET", "/v1/scan?key_b64=bg"}, {"GET", "/v1/status?limit=1"},
	} {
		f.want(400, `"code":"INVALID"`, request[0], request[1], "")
	}
	for _, request := range [][2]string{{"POST", "/v1/incr/n"}, {"DELETE", "/v1/kv/n"}} {
		f.want(400, "only PUT takes a body", request[0], request[1], `{"delta":5}`)
	}
	f.want(200, `"value":"1"`, "GET", "/v1/kv/n", "")
}

func TestEveryErrorHasItsStatusAndSaysWhatToDo(t *testing.T) {
	f := newFace(t)
	for _, row := range api.Table {
		f.store.fail = api.Errorf(row.Code, "because of the test")
		for _, method := range []string{"GET", "PUT"} {
			w := f.do(method, "/v1/kv/k", "v")
			var got errorJSON
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			want := errorJSON{string(row.Code), "because of the test", row.Next, row.Retry, row.Outcome == api.MayHaveRun}
			if w.Code != row.HTTP || got != want {
				t.Errorf("%s: %d %+v, want %d %+v", row.Code, w.Code, got, row.HTTP, want)
			}
		}
	}
}

func TestPagesOfWebsitesAreRefused(t *testing.T) {
	f := newFace(t)
	for _, header := range []string{"Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-origin"} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			f.want(403, `"code":"DENIED"`, method, "/v1/kv/k", "v", header)
		}
	}
	if f.store.version != 0 || len(f.store.queries) != 0 {
		t.Error("the store was asked")
	}
	f.want(404, "NOT_FOUND", "GET", "/v1/kv/k", "", "Sec-Fetch-Site: none")
}

func TestALoopbackListenerAnswersOnlyToItsOwnNames(t *testing.T) {
	f := newFace(t)
	s := httptest.NewServer(f.handler)
	defer s.Close()
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{"127.0.0.1": 200, "localhost": 200, "[::1]": 200, "rebound.example": 403} {
		req, err := http.NewRequest("GET", s.URL+"/v1/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host + ":" + port
		res, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %s", host, res.Status)
		}
	}
}

func TestLargeBodiesAreRefusedWithoutBeingKept(t *testing.T) {
	f := newFace(t)
	f.want(413, "TOO_LARGE", "PUT", "/v1/kv/k", strings.Repeat("x", api.MaxValueBytes+1))
	f.want(200, "applied", "PUT", "/v1/kv/k", strings.Repeat("x", api.MaxValueBytes))
	r := httptest.NewRequest("PUT", "/v1/kv/k", io.MultiReader(endless{}))
	r.ContentLength = -1
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	if w.Code != 413 {
		t.Errorf("a body without an end: %d %s", w.Code, w.Body)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestMemoryOfRequestsUnderWayIsBounded tests O3.
func TestMemoryOfRequestsUnderWayIsBounded(t *testing.T) {
	d := &data{held: newBudget()}
	release, err := d.hold(maxHeldBytes - 10)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("PUT", "/v1/kv/k", strings.NewReader("more than ten bytes"))
	if _, _, err := d.readBody(r); api.CodeOf(err) != api.CodeOverloaded {
		t.Fatalf("got %v", err)
	}
	release()
	body, release, err := d.readBody(r)
	if err != nil || string(body) != "more than ten bytes" {
		t.Fatal(err, body)
	}
	release()
	if _, err := d.hold(maxHeldBytes); err != nil {
		t.Fatal("not everything was given back")
	}
}

func TestAScanInPagesIsWholeInBothDirections(t *testing.T) {
	f := newFace(t)
	var all []string
	for i := range 57 {
		key := fmt.Sprintf("u:%03d", i)
		all = append(all, key)
		f.do("PUT", "/v1/kv/"+key, "v")
	}
	f.do("PUT", "/v1/kv/other", "v")
	for _, direction := range []string{"", "&reverse"} {
		var got []string
		resume := ""
		for pages := 0; pages < 20; pages++ {
			target := "/v1/scan?prefix=u:&limit=10" + direction
			if resume != "" {
				target += "&resume=" + resume
			}
			var page pageJSON
			if err := json.Unmarshal(f.want(200, "items", "GET", target, "").Body.Bytes(), &page); err != nil {
				t.Fatal(err)
			}
			for _, item := range page.Items {
				got = append(got, *item.Key)
			}
			if resume = page.Resume; resume == "" {
				break
			}
		}
		want := append([]string(nil), all...)
		if direction != "" {
			for i := range want {
				want[i] = all[len(all)-1-i]
			}
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: got %v", direction, got)
		}
	}
	f.want(200, `{"items":[]}`, "GET", "/v1/scan?prefix=none", "")
	f.want(200, `{"key":"other","version":"58"}`, "GET", "/v1/scan?start=other&end=p&keys_only", "")
}

func TestLinesSayHowTheyEnd(t *testing.T) {
	f := newFace(t)
	for i := range 5 {
		f.do("PUT", fmt.Sprintf("/v1/kv/k%d", i), "v")
	}
	lines := strings.Split(strings.TrimSpace(f.want(200, "", "GET", "/v1/scan?limit=4", "", "Accept: application/x-ndjson").Body.String()), "\n")
	if len(lines) != 5 || lines[4] != `{"end":true}` {
		t.Errorf("got %q", lines)
	}
	f.store.fail = api.Errorf(api.CodeUnavailable, "no majority")
	lines = strings.Split(strings.TrimSpace(f.do("GET", "/v1/scan", "", "Accept: application/x-ndjson").Body.String()), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[2], `{"end":false,"error":{"code":"UNAVAILABLE"`) {
		t.Errorf("got %q", lines)
	}
	f.want(503, "UNAVAILABLE", "GET", "/v1/scan", "")
}

func TestStalenessReachesTheStore(t *testing.T) {
	f := newFace(t)
	f.do("GET", "/v1/kv/k?max_staleness_ms=1500", "")
	if len(f.store.queries) != 1 || f.store.queries[0].MaxStaleness != 1500*time.Millisecond {
		t.Errorf("got %+v", f.store.queries)
	}
}

func TestStatusIsJSON(t *testing.T) {
	f := newFace(t)
	var got map[string]any
	if err := json.Unmarshal(f.want(200, "node-1", "GET", "/v1/status", "").Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got["ready"] != true || got["map"].(map[string]any)["revision"] != "7" {
		t.Errorf("got %v", got)
	}
}

func TestMetricsOfTheDataHaveFixedLabels(t *testing.T) {
	f := newFace(t)
	f.do("GET", "/v1/kv/one", "")
	f.do("GET", "/v1/kv/two?x=y", "")
	f.do("PUT", "/v1/kv/three", "v")
	body := f.do("GET", "/metrics", "").Body.String()
	for _, want := range []string{
		`lightning_requests_total{op="get",outcome="NOT_FOUND",protocol="http"} 1`, `lightning_requests_total{op="get",outcome="INVALID",protocol="http"} 1`,
		`lightning_requests_total{op="put",outcome="ok",protocol="http"} 1`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is missing", want)
		}
	}
}

func FuzzValueFromJSON(f *testing.F) {
	for _, seed := range []string{`{"value":"a"}`, `{"value_b64":"/w=="}`, `{"value":"\ud83d\ude00"}`, `{"value":"\\\ud800"}`, `[`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		value, err := valueFromJSON(body)
		if err != nil {
			return
		}
		// What was read, written again, reads the same: nothing was replaced on the way.
		again, err := json.Marshal(map[string][]byte{"value_b64": value})
		if err != nil {
			t.Fatal(err)
		}
		if back, err := valueFromJSON(again); err != nil || !bytes.Equal(back, value) {
			t.Fatalf("%q: %v, %q", value, err, back)
		}
		if bytes.Contains(value, []byte("\ufffd")) && !bytes.Contains(body, []byte("\ufffd")) &&
			!bytes.Contains(bytes.ToLower(body), []byte(`\ufffd`)) && !bytes.Contains(body, []byte("value_b64")) && !bytes.Contains(bytes.ToLower(body), []byte("_b64")) {
			t.Fatalf("%q became %q", body, value)
		}
	})
}

func FuzzRequest(f *testing.F) {
	f.Add("PUT", "/v1/kv/k", "ttl_ms=5", "text/plain", []byte("v"))
	f.Add("GET", "/v1/scan", "prefix=a&resume=YQ&reverse", "", []byte(nil))
	f.Add("POST", "/v1/incr/n", "delta=-1", "application/json", []byte("{}"))
	f.Fuzz(func(t *testing.T, method, path, rawQuery, contentType string, body []byte) {
		face := newFace(t)
		r := httptest.NewRequest("GET", "/", bytes.NewReader(body))
		r.Method, r.URL.Path, r.URL.RawQuery = method, path, rawQuery
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		face.handler.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}
