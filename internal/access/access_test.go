package access

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/vfs"
)

var start = time.UnixMilli(1_700_000_000_000)

type fixture struct {
	*Passwords
	fs    *vfs.Mem
	clock *clock.Manual
}

func open(t *testing.T, content string) *fixture {
	t.Helper()
	f := &fixture{fs: vfs.NewMem(), clock: clock.NewManual(start)}
	f.write(t, content)
	p, err := Open(Options{File: "dir/passwords", FS: f.fs, Clock: f.clock})
	if err != nil {
		t.Fatal(err)
	}
	f.Passwords = p
	return f
}

func (f *fixture) write(t *testing.T, content string) {
	t.Helper()
	if err := f.fs.MkdirAll("dir"); err != nil {
		t.Fatal(err)
	}
	if err := vfs.WriteFileAtomic(f.fs, "dir", "passwords", []byte(content)); err != nil {
		t.Fatal(err)
	}
}

func from(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1000} }

func (f *fixture) try(user, password, ip string) api.Code {
	return api.CodeOf(f.Check(context.Background(), user, []byte(password), from(ip)))
}

func TestEveryLineIsAPasswordOfTheOneUser(t *testing.T) {
	f := open(t, "first\r\n\nsecond secret\nsha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8\n")
	for _, c := range []struct {
		user, password string
		want           api.Code
	}{
		{"", "first", ""},
		{"default", "first", ""},
		{"default", "second secret", ""},
		{"", "password", ""},
		{"admin", "first", api.CodeUnauthorized},
		{"", "First", api.CodeUnauthorized},
		{"", "", api.CodeUnauthorized},
		{"", "first\r", api.CodeUnauthorized},
	} {
		f.clock.Advance(time.Minute)
		if got := f.try(c.user, c.password, "10.0.0.1"); got != c.want {
			t.Errorf("%q %q: %q, want %q", c.user, c.password, got, c.want)
		}
	}
}

func TestNoFileMeansNoPassword(t *testing.T) {
	p, err := Open(Options{})
	if err != nil || p.Required() || p.Check(context.Background(), "", nil, nil) != nil {
		t.Fatal(err, p.Required())
	}
}

func TestAChangedFileIsTakenAndABadOneIsNot(t *testing.T) {
	f := open(t, "old\n")
	if changed, err := f.Reload(); changed || err != nil {
		t.Fatal(changed, err)
	}
	f.write(t, "old\nnew\n")
	if changed, err := f.Reload(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if f.try("", "old", "10.0.0.1") != "" || f.try("", "new", "10.0.0.1") != "" {
		t.Fatal("both passwords of the file are in force")
	}
	for _, bad := range []string{"", "\n\n", "sha256:12\n", strings.Repeat("x\n", maxPasswords+1)} {
		f.write(t, bad)
		changed, err := f.Reload()
		if changed || err == nil {
			t.Fatalf("%q was accepted", bad)
		}
		if f.try("", "new", "10.0.0.1") != "" {
			t.Fatal("A2: a bad file changed something")
		}
	}
	if err := f.fs.Remove("dir/passwords"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Reload(); !vfs.IsNotExist(err) || f.try("", "new", "10.0.0.1") != "" {
		t.Fatal("A2: a missing file changed something", err)
	}
	f.write(t, "new\n")
	if changed, err := f.Reload(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if f.Matches([]byte("old")) {
		t.Fatal("a password that was removed is still in force")
	}
}

func TestErrorsDoNotShowPasswords(t *testing.T) {
	f := open(t, "topsecret\n")
	f.write(t, "topsecret\nsha256:topsecret\n")
	_, err := f.Reload()
	if err == nil || strings.Contains(err.Error(), "topsecret") {
		t.Fatal("A1:", err)
	}
	err = f.Check(context.Background(), "x", []byte("mysecret"), from("10.0.0.1"))
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Fatal("A1:", err)
	}
}

func TestWhoGuessesWaitsAndOthersDoNot(t *testing.T) {
	f := open(t, "right\n")
	for range maxFailures {
		if got := f.try("", "wrong", "10.0.0.1"); got != api.CodeUnauthorized {
			t.Fatal(got)
		}
	}
	if got := f.try("", "right", "10.0.0.1"); got != api.CodeOverloaded {
		t.Fatalf("the right password while the source waits: %q", got)
	}
	if got := f.try("", "right", "10.0.0.2"); got != "" {
		t.Fatal("another source has to wait:", got)
	}
	if !f.Matches([]byte("right")) {
		t.Fatal("a connection that is known has to wait")
	}
	f.clock.Advance(penalty)
	if got := f.try("", "right", "10.0.0.1"); got != "" {
		t.Fatal(got)
	}
	if f.Failures() != maxFailures {
		t.Fatal(f.Failures())
	}
}

func TestAGuesserDoesNotLockOutWhoSharesHisAddress(t *testing.T) {
	f := open(t, "secret\n")
	for range maxFailures {
		f.try("", "guess", "10.0.0.1")
	}
	if got := f.try("", "secret", "10.0.0.1"); got != api.CodeOverloaded {
		t.Errorf("the right password from an address that has only guessed: %q", got)
	}
	f.clock.Advance(penalty)
	if got := f.try("", "secret", "10.0.0.1"); got != "" {
		t.Errorf("the right password after the penalty: %q", got)
	}
	for range maxFailures {
		f.try("", "guess", "10.0.0.1")
	}
	if got := f.try("", "guess", "10.0.0.1"); got != api.CodeOverloaded {
		t.Errorf("one guess too many: %q", got)
	}
	if got := f.try("", "secret", "10.0.0.1"); got != "" {
		t.Errorf("the right password from where it came before: %q", got)
	}
	f.clock.Advance(trust + time.Second)
	for range maxFailures {
		f.try("", "guess", "10.0.0.1")
	}
	if got := f.try("", "secret", "10.0.0.1"); got != api.CodeOverloaded {
		t.Errorf("the right password from where it came long ago: %q", got)
	}
}

func TestMistakesFarApartDoNotAddUp(t *testing.T) {
	f := open(t, "right\n")
	for range 3 * maxFailures {
		if got := f.try("", "wrong", "10.0.0.1"); got != api.CodeUnauthorized {
			t.Fatal(got)
		}
		f.clock.Advance(failureWindow / 2)
	}
}

func TestAnIPv6CustomerIsOneSource(t *testing.T) {
	f := open(t, "right\n")
	for i := range maxFailures {
		f.try("", "wrong", fmt.Sprintf("2001:db8:1:2::%d", i+1))
	}
	if got := f.try("", "right", "2001:db8:1:2:ffff::1"); got != api.CodeOverloaded {
		t.Fatal(got)
	}
	if got := f.try("", "right", "2001:db8:1:3::1"); got != "" {
		t.Fatal(got)
	}
}

func TestTheTableOfSourcesIsBounded(t *testing.T) {
	f := open(t, "right\n")
	for i := range 3 * maxSources {
		f.try("", "wrong", fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
	}
	if n := len(f.throttle.mu.sources); n > maxSources {
		t.Fatalf("A3: %d sources", n)
	}
}

func TestTheTableOfTrustedSourcesIsBounded(t *testing.T) {
	f := open(t, "secret\n")
	for i := range maxSources + 100 {
		f.try("", "secret", fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&0xff, i&0xff))
	}
	if n := len(f.throttle.mu.trusted); n > maxSources {
		t.Errorf("%d addresses are remembered", n)
	}
}

func TestOpenRefusesAFileThatIsNotThere(t *testing.T) {
	_, err := Open(Options{File: "nowhere", FS: vfs.NewMem()})
	if !vfs.IsNotExist(err) || !strings.Contains(err.Error(), "nowhere") {
		t.Fatal("the error does not say which file is missing:", err)
	}
}
