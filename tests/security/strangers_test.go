package security

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/internal/certs"
	"github.com/lightning-db/lightning/tests/cluster"
)

// limit bounds each request of these tests.
const limit = 30 * time.Second

// startSecure starts a cluster with everything that guards it.
func startSecure(t *testing.T, args ...string) (*cluster.Cluster, *cluster.Secure, *certs.Authority) {
	t.Helper()
	ca := cluster.NewAuthority(t)
	s := cluster.NewSecure(t, ca)
	return cluster.Start(t, cluster.Options{Secure: s, Args: append(args, cluster.Patient...)}), s, ca
}

func dial(t *testing.T, address string, config *tls.Config, more ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := cluster.Dial(address, append([]grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(config))}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// withPair is a configuration that shows a certificate.
func withPair(t *testing.T, config *tls.Config, p certs.Pair) *tls.Config {
	t.Helper()
	pair, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config
}

// methods lists every method that a node serves, as reflection tells.
func methods(t *testing.T, conn *grpc.ClientConn) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(r *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
		if err := stream.Send(r); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	var list []string
	services := ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
	for _, service := range services.GetListServicesResponse().GetService() {
		file := ask(&reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service.Name},
		})
		for _, encoded := range file.GetFileDescriptorResponse().GetFileDescriptorProto() {
			var d descriptorpb.FileDescriptorProto
			if err := proto.Unmarshal(encoded, &d); err != nil {
				t.Fatal(err)
			}
			for _, s := range d.Service {
				for _, m := range s.Method {
					if name := fmt.Sprintf("/%s.%s/%s", d.GetPackage(), s.GetName(), m.GetName()); !slices.Contains(list, name) {
						list = append(list, name)
					}
				}
			}
		}
	}
	slices.Sort(list)
	return list
}

// call sends an empty message, which every method can read, and returns how it was answered.
func call(conn *grpc.ClientConn, method string, pairs ...string) error {
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), pairs...), limit)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(&emptypb.Empty{}); err != nil && err != io.EOF {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	err = stream.RecvMsg(&emptypb.Empty{})
	if err == io.EOF {
		return nil
	}
	return err
}

// refusal is how a stranger must be answered; OK for what is open to anybody.
func refusal(method string, password bool) codes.Code {
	switch {
	case strings.HasPrefix(method, "/lightning.peer."):
		return codes.PermissionDenied
	case strings.HasPrefix(method, "/grpc.health."), strings.HasPrefix(method, "/grpc.reflection."):
		return codes.OK
	case password:
		return codes.OK
	}
	return codes.Unauthenticated
}

// TestStrangersAreRefusedByEveryMethod asks every node for every method it serves (BA1).
func TestStrangersAreRefusedByEveryMethod(t *testing.T) {
	c, s, ca := startSecure(t)
	right := "Bearer " + s.Password
	clientCert := func(cluster_ string, role certs.Role) *tls.Config {
		return withPair(t, s.TLS(), cluster.Issue(t, ca, cluster_, role))
	}
	strangers := []struct {
		name     string
		config   *tls.Config
		pairs    []string
		password bool
	}{
		{"nothing", s.TLS(), nil, false},
		{"an empty password", s.TLS(), []string{"authorization", "Bearer "}, false},
		{"the password as it is", s.TLS(), []string{"authorization", s.Password}, false},
		{"two passwords", s.TLS(), []string{"authorization", right, "authorization", "Bearer x"}, false},
		{"the cluster's id only", s.TLS(), []string{"lightning-cluster", clusterID(t, c.Nodes[0])}, false},
		{"a client's certificate", clientCert("lightning", certs.Client), nil, false},
		{"a node's certificate of another cluster", clientCert("other", certs.Node), nil, false},
		{"the password", s.TLS(), []string{"authorization", right}, true},
		{"the password and a client's certificate", clientCert("lightning", certs.Client), []string{"authorization", right}, true},
		{"a wrong password", s.TLS(), []string{"authorization", "Bearer wrong"}, false},
		{"the password and the cluster's id", s.TLS(), []string{"authorization", right, "lightning-cluster", clusterID(t, c.Nodes[0])}, true},
	}
	list := methods(t, dial(t, c.Nodes[0].GRPC, s.TLS()))
	if len(list) < 20 {
		t.Fatal("too few methods:", list)
	}
	refused := 0
	for _, n := range c.Nodes {
		for _, who := range strangers {
			conn := dial(t, n.GRPC, who.config)
			for _, method := range list {
				want := refusal(method, who.password)
				if want == codes.OK {
					continue
				}
				refused++
				got := call(conn, method, who.pairs...)
				if who.name == "a wrong password" && status.Code(got) == codes.ResourceExhausted {
					continue // who guesses has to wait
				}
				if status.Code(got) != want {
					t.Errorf("%s, %s with %s: %v, want %v", n.Name, method, who.name, got, want)
				}
			}
		}
	}
	t.Logf("%d methods, %d kinds of strangers, %d nodes: %d calls refused", len(list), len(strangers), len(c.Nodes), refused)
}

// clusterID is what a client of the cluster can learn.
func clusterID(t *testing.T, n *cluster.Node) string {
	t.Helper()
	return n.MustStatus().GetMap().GetClusterId()
}

// openCommands are what a Redis client may say before AUTH.
var openCommands = []string{"auth", "hello", "quit", "reset"}

// TestStrangersAreRefusedByEveryCommand asks both Redis ports for every command they list (BA1).
func TestStrangersAreRefusedByEveryCommand(t *testing.T) {
	c, s, _ := startSecure(t)
	n := c.Nodes[0]
	known := redis.NewClient(&redis.Options{Addr: n.RESP, Password: s.Password, TLSConfig: s.TLS()})
	defer known.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	table := commands(ctx, t, known)
	refused := 0
	for _, address := range []string{n.RESP, n.RESPCluster} {
		for _, password := range []string{"", "wrong"} {
			for name, arity := range table {
				refused++
				// EXEC says it as Redis does: "-EXECABORT Transaction discarded because of: NOAUTH …".
				got := rawCommand(t, address, s, password, name, arity)
				if !strings.HasPrefix(got, "-") || !strings.Contains(got, "NOAUTH ") {
					t.Errorf("%s on %s after password %q: %q", name, address, password, got)
				}
			}
		}
	}
	t.Logf("%d commands, 2 ports: %d refused", len(table), refused)
	if err := known.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
}

// commands are the names of all commands and subcommands that are not open, with their arity. A
// command that has subcommands is left out itself: without one it does not get that far.
func commands(ctx context.Context, t *testing.T, r *redis.Client) map[string]int {
	t.Helper()
	names, err := r.CommandList(ctx, nil).Result()
	if err != nil {
		t.Fatal(err)
	}
	table := map[string]int{}
	for _, name := range names {
		info, err := r.Do(ctx, "COMMAND", "INFO", name).Slice()
		if err != nil {
			t.Fatal(err)
		}
		row, ok := info[0].([]any)
		if !ok {
			t.Fatal("no information about", name)
		}
		subcommands, _ := row[9].([]any)
		for _, sub := range subcommands {
			about := sub.([]any)
			table[about[0].(string)] = int(about[1].(int64))
		}
		if len(subcommands) == 0 && !slices.Contains(openCommands, name) {
			table[name] = int(row[1].(int64))
		}
	}
	if len(table) < 80 {
		t.Fatal("too few commands:", table)
	}
	return table
}

// rawCommand sends a command with as many arguments as it wants, as the first or, after an AUTH that
// fails, the second of a connection.
func rawCommand(t *testing.T, address string, s *cluster.Secure, password, name string, arity int) string {
	t.Helper()
	conn, err := tls.Dial("tcp", address, s.TLS())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	deadline, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	defer context.AfterFunc(deadline, func() { _ = conn.Close() })()
	var request bytes.Buffer
	if password != "" {
		fmt.Fprintf(&request, "*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n", len(password), password)
	}
	if arity < 0 {
		arity = -arity
	}
	fmt.Fprintf(&request, "*%d\r\n", arity)
	words := strings.Split(name, "|")
	for _, word := range words {
		fmt.Fprintf(&request, "$%d\r\n%s\r\n", len(word), word)
	}
	request.WriteString(strings.Repeat("$1\r\n1\r\n", arity-len(words)))
	if _, err := conn.Write(request.Bytes()); err != nil {
		t.Fatal(err)
	}
	reply := ""
	lines := 1
	if password != "" {
		lines = 2
	}
	buf := make([]byte, 1)
	for lines > 0 {
		if _, err := io.ReadFull(conn, buf); err != nil {
			return reply + err.Error()
		}
		reply += string(buf)
		if buf[0] == '\n' {
			if lines--; lines > 0 {
				reply = "" // of AUTH
			}
		}
	}
	return reply
}

// routes are asked for by strangers; every one of them but the open ones is a 401.
var routes = []struct {
	method, path string
	open         bool
}{
	{"GET", "/livez", true},
	{"GET", "/readyz", true},
	{"GET", "/metrics", true},
	{"GET", "/", false},
	{"GET", "/livez/", false},
	{"GET", "/livez/../v1/status", false},
	{"GET", "//metrics", false},
	{"GET", "/v1/status", false},
	{"GET", "/v1/kv", false},
	{"GET", "/v1/kv/key", false},
	{"PUT", "/v1/kv/key", false},
	{"POST", "/v1/kv/key", false},
	{"DELETE", "/v1/kv/key", false},
	{"GET", "/v1/scan", false},
	{"GET", "/v1/cluster", false},
	{"GET", "/debug/pprof/", false},
}

func TestStrangersAreRefusedByEveryRoute(t *testing.T) {
	c, s, _ := startSecure(t)
	transport := &http.Transport{TLSClientConfig: s.TLS()}
	defer transport.CloseIdleConnections()
	web := &http.Client{Transport: transport, Timeout: limit, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, r := range routes {
		for _, bearer := range []string{"", "Bearer", "Bearer ", "Basic " + s.Password, "Bearer x"} {
			req, err := http.NewRequest(r.method, "https://"+c.Nodes[0].HTTP+r.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if bearer == "Bearer x" && r.path != "/v1/status" {
				continue // a few wrong ones are enough: more, and this address has to wait
			}
			req.Header.Set("Authorization", bearer)
			res, err := web.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			want := http.StatusUnauthorized
			if r.open {
				want = http.StatusOK
			}
			if res.StatusCode != want && (want != http.StatusUnauthorized || res.StatusCode != http.StatusServiceUnavailable) {
				t.Errorf("%s %s with %q: %s, want %d", r.method, r.path, bearer, res.Status, want)
			}
		}
	}
}

// TestAClusterWithEverythingServesWhoMayAsk goes the normal path through every port.
func TestAClusterWithEverythingServesWhoMayAsk(t *testing.T) {
	c, s, _ := startSecure(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tlsCredentials, err := client.TLS(client.TLSOptions{CA: s.CA()})
	if err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for _, n := range c.Nodes {
		addresses = append(addresses, n.GRPC)
	}
	sdk, err := client.New(client.Options{Addresses: addresses, Credentials: tlsCredentials, Password: s.Password})
	if err != nil {
		t.Fatal(err)
	}
	defer sdk.Close()
	const keys = 50
	for i := range keys {
		key := fmt.Sprintf("key-%d", i)
		if _, err := sdk.Put(ctx, 0, []byte(key), []byte("sdk"), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for _, n := range c.Nodes {
		wg.Go(func() {
			r := redis.NewClient(&redis.Options{Addr: n.RESP, Password: s.Password, TLSConfig: s.TLS()})
			defer r.Close()
			for i := range keys {
				if got, err := r.Get(ctx, fmt.Sprintf("key-%d", i)).Result(); got != "sdk" || err != nil {
					t.Error(n.Name, i, got, err)
				}
			}
		})
	}
	wg.Wait()
	routed := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{c.Nodes[1].RESPCluster}, Password: s.Password, TLSConfig: s.TLS()})
	defer routed.Close()
	for i := range keys {
		if err := routed.Set(ctx, fmt.Sprintf("key-%d", i), "cluster", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if item, err := sdk.Get(ctx, 0, []byte("key-7")); err != nil || string(item.Value) != "cluster" {
		t.Fatal(string(item.Value), err)
	}
	transport := &http.Transport{TLSClientConfig: s.TLS()}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+c.Nodes[2].HTTP+"/v1/kv/key-7", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.Password)
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(body), "cluster") {
		t.Fatal(res.Status, string(body), err)
	}
}
