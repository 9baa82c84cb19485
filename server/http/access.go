package http

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/lightning-db/lightning/api"
)

// Access decides who may use the routes that are not open; *access.Passwords implements it.
type Access interface {
	// Required reports whether a request has to carry a password.
	Required() bool
	// Check fails with api.CodeUnauthorized if the password is not the user's, and with
	// api.CodeOverloaded for a source that guessed too often.
	Check(ctx context.Context, user string, password []byte, source net.Addr) error
}

// openPaths are for probes and Prometheus, which tell nothing of the data. A path that is not
// exactly one of them needs the password (O2), also one that does not exist.
var openPaths = map[string]bool{"/livez": true, "/readyz": true, "/metrics": true}

// guard lets requests with the right bearer pass, and those for open paths.
func guard(a Access, next http.Handler) http.Handler {
	if a == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !openPaths[r.URL.Path] && a.Required() {
			if err := checkBearer(a, r); err != nil {
				refuse(w, err)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func checkBearer(a Access, r *http.Request) error {
	scheme, password, found := strings.Cut(r.Header.Get("Authorization"), " ")
	if !found || !strings.EqualFold(scheme, "bearer") || password == "" {
		return api.Errorf(api.CodeUnauthorized, "the request has no header 'Authorization: Bearer <password>'")
	}
	return a.Check(r.Context(), "", []byte(password), remote(r))
}

// remote is the client's address; nil, which is a source like any other, if it has none.
func remote(r *http.Request) net.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return nil
	}
	return net.TCPAddrFromAddrPort(at)
}
