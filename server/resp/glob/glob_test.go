package glob

import (
	"errors"
	"strconv"
	"strings"
	"testing"
)

func TestGlobMatchesAsRedisDoes(t *testing.T) {
	for _, c := range []struct {
		pattern, key string
		want         bool
	}{
		{"*", "anything", true}, {"**", "a", true}, {"a*c", "abbc", true}, {"a*c", "abbd", false},
		{"h?llo", "hello", true}, {"h?llo", "hllo", false}, {"h[ae]llo", "hallo", true}, {"h[ae]llo", "hillo", false},
		{"h[^e]llo", "hallo", true}, {"h[^e]llo", "hello", false}, {"h[a-c]llo", "hbllo", true}, {"h[c-a]llo", "hbllo", true},
		{"h[a-c]llo", "hdllo", false}, {`h\?llo`, "h?llo", true}, {`h\?llo`, "hello", false}, {`[\]]`, "]", true},
		{`[a\-c]`, "b", false}, {`[a\-c]`, "-", true}, {"[abc", "b", true}, {"[", "x", false}, {"[^", "x", true},
		{`a\`, `a\`, true}, {"", "a", false}, {"a", "ab", false}, {"ab", "a", false}, {"a*", "a", true}, {"*a", "a", true},
		{"*a*b*c*", "xxaxxbxxcxx", true}, {"*a*b*c*", "xxaxxcxxbxx", false}, {"a[]b", "ab", false}, {"\xff*", "\xff\x00", true},
		{"news.*.[0-9]", "news.sport.7", true}, {"[a-]", "-", false}, {"?*?", "ab", true}, {"?*?", "a", false},
	} {
		got, err := New([]byte(c.pattern)).Match([]byte(c.key))
		if err != nil || got != c.want {
			t.Errorf("%q on %q: %v, %v", c.pattern, c.key, got, err)
		}
	}
}

// UG1
func TestGlobGivesUpOnAPatternThatIsTooExpensive(t *testing.T) {
	g := New([]byte("*" + strings.Repeat("a", 1000) + "b"))
	key := []byte(strings.Repeat("a", 60_000))
	for range 100 {
		if _, err := g.Match(key); err != nil {
			if !errors.Is(err, ErrTooExpensive) {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("100 matches of 60,000 bytes against 1000 bytes behind a star were free")
}

// A pattern that is expensive only behind the end of the key is found out too.
func TestGlobGivesUpOnManyStars(t *testing.T) {
	g := New([]byte("a" + strings.Repeat("*", 1_000_000)))
	for range 100 {
		if _, err := g.Match([]byte("a")); err != nil {
			return
		}
	}
	t.Fatal("100 matches against a million stars were free")
}

func TestGlobMatchesManyKeysWithAnHonestPattern(t *testing.T) {
	g := New([]byte("*[0-9a-f]*:user:*7"))
	for i := range 400_000 {
		if _, err := g.Match(strconv.AppendInt([]byte("prefix-17:user:"), int64(i), 10)); err != nil {
			t.Fatalf("key %d: %v", i, err)
		}
	}
}

func TestLiteralPrefix(t *testing.T) {
	for pattern, want := range map[string]string{
		"user:*": "user:", "*": "", "a?b": "a", "a[b]": "a", `a\*`: "a", "plain": "plain", "": "",
	} {
		if got := New([]byte(pattern)).LiteralPrefix(); string(got) != want {
			t.Errorf("%q: %q", pattern, got)
		}
	}
}

// slowMatch is stringmatchlen of Redis 7 written as it defines itself, by recursion.
func slowMatch(p, s []byte) bool {
	for len(p) > 0 && len(s) > 0 {
		if p[0] == '*' {
			for len(p) > 1 && p[1] == '*' {
				p = p[1:]
			}
			if len(p) == 1 {
				return true
			}
			for i := 0; i <= len(s); i++ {
				if slowMatch(p[1:], s[i:]) {
					return true
				}
			}
			return false
		}
		ok, next := New(p).matchByte(0, s[0])
		if !ok {
			return false
		}
		p, s = p[next:], s[1:]
	}
	for len(p) > 0 && p[0] == '*' {
		p = p[1:]
	}
	return len(p) == 0 && len(s) == 0
}

func FuzzGlob(f *testing.F) {
	for _, seed := range [][2]string{{"a*b[^c-e]?\\*", "axxbf?*"}, {"*a*a*a*b", "aaaaaaaaaa"}, {"[", "["}, {"[\\", "\\"}, {"\\", "\\"}, {"*?*", ""}} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, pattern, key []byte) {
		if len(pattern) > 20 || len(key) > 20 {
			return
		}
		got, err := New(pattern).Match(key)
		if err != nil {
			t.Fatal(err)
		}
		if want := slowMatch(pattern, key); got != want {
			t.Fatalf("%q on %q: %v", pattern, key, got)
		}
		prefix := New(pattern).LiteralPrefix()
		if got && !strings.HasPrefix(string(key), string(prefix)) {
			t.Fatalf("%q matches %q without its prefix %q", pattern, key, prefix)
		}
	})
}
