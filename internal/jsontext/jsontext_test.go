package jsontext

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"testing"
)

func TestFaithfulFindsWhatWouldBeReplaced(t *testing.T) {
	for text, want := range map[string]bool{
		`"a"`: true, `"ü😀"`: true, `"\ud83d\ude00"`: true, `"\\ud800"`: true, `"\\\ud800"`: false, `"\ud800"`: false, `"\udc00\ud800"`: false,
		`"\ud800\u0041"`: false, `"\ud83d`: false, "\"\xff\"": false, `"\ufffd"`: true, `"\\`: true, ``: true, `\`: true, `"\uD83D\uDE00\uDE00"`: false,
	} {
		if got := Faithful([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestBase64InEveryForm(t *testing.T) {
	want := []byte{0xfb, 0xff, 0xfe, 0x01}
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if got, err := Base64(e.EncodeToString(want)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v, %x", err, got)
		}
	}
	if _, err := Base64("a*"); err == nil {
		t.Error("a* is base64")
	}
}

// FuzzFaithful compares with what encoding/json does: a text without replacements is faithful.
func FuzzFaithful(f *testing.F) {
	for _, seed := range []string{`"a"`, `"\ud83d\ude00"`, `"\ud800"`, `"\\\ud800"`, "\"\xff\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var text string
		if json.Unmarshal(body, &text) != nil || text == "" {
			return
		}
		replaced := bytes.Count([]byte(text), []byte("\ufffd")) - bytes.Count(body, []byte("\ufffd")) - bytes.Count(bytes.ToLower(body), []byte(`\ufffd`))
		if Faithful(body) && replaced > 0 {
			t.Fatalf("%q became %q", body, text)
		}
		if !Faithful(body) && !bytes.Contains([]byte(text), []byte("\ufffd")) {
			t.Fatalf("%q is read as it is", body)
		}
	})
}
