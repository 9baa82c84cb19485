package deploy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// podCommand is what a kubelet runs for a pod, the image's entry point left out, and its
// environment. What would be mounted lies below dir, under the same paths.
func podCommand(t *testing.T, m manifests, ordinal int, dir string) (args []string, env map[string]string) {
	t.Helper()
	c := m.container()
	mountConfig(t, m, dir)
	env = map[string]string{}
	for _, e := range c.Env {
		value := e.Value
		if from := e.ValueFrom; from != nil {
			switch from.FieldRef.FieldPath {
			case "metadata.name":
				value = fmt.Sprintf("%s-%d", m.set.Name, ordinal)
			case "metadata.namespace":
				value = "default"
			default:
				t.Fatalf("nobody knows %s here", from.FieldRef.FieldPath)
			}
		}
		for name, known := range env {
			value = strings.ReplaceAll(value, "$("+name+")", known)
		}
		if strings.Contains(value, "$(") {
			t.Fatalf("%s=%s names a variable that is not set before it", e.Name, value)
		}
		env[e.Name] = value
	}
	for _, arg := range c.Args {
		args = append(args, below(m, dir, arg))
	}
	return args, env
}

// below moves the paths in a text that are mounted in the pod to below dir.
func below(m manifests, dir, text string) string {
	for _, mount := range m.container().VolumeMounts {
		text = strings.ReplaceAll(text, mount.MountPath, dir+mount.MountPath)
	}
	return text
}

func mountPath(t *testing.T, m manifests, volume string) string {
	t.Helper()
	for _, mount := range m.container().VolumeMounts {
		if mount.Name == volume {
			return mount.MountPath
		}
	}
	t.Fatalf("volume %s is not mounted", volume)
	return ""
}

// mountConfig writes the file of the config map, with its paths moved.
func mountConfig(t *testing.T, m manifests, dir string) {
	t.Helper()
	var settings map[string]any
	if err := yaml.Unmarshal(read(t, base("lightning.yaml")), &settings); err != nil {
		t.Fatal(err)
	}
	for key, value := range settings {
		if text, ok := value.(string); ok && strings.HasPrefix(text, "/") {
			settings[key] = below(m, dir, text)
			if settings[key] == text {
				t.Errorf("%s: nothing is mounted at %s", key, text)
			}
		}
	}
	data, err := yaml.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir+mountPath(t, m, "config"), "lightning.yaml"), data, 0o644)
}

func write(t *testing.T, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
}

// secrets are the files of each secret that README.md has made, by the name of the secret.
var secrets = map[string]map[string]string{
	"lightning-tls":    {"tls.crt": "node.crt", "tls.key": "node.key", "ca.crt": "ca.crt"},
	"lightning-auth":   {"password": "password"},
	"lightning-gossip": {"gossip.key": "gossip.key"},
}

func TestTheReadmeMakesTheSecretsThatThePodsMount(t *testing.T) {
	readme := string(read(t, filepath.Join(root(), "deploy/k8s/README.md")))
	for _, v := range load(t).pod().Volumes {
		if v.Secret == nil {
			continue
		}
		files, ok := secrets[v.Secret.SecretName]
		if !ok || !strings.Contains(readme, "secret generic "+v.Secret.SecretName) {
			t.Errorf("README.md does not make %s", v.Secret.SecretName)
		}
		for name, from := range files {
			if !strings.Contains(readme, "--from-file="+name+"=secrets/"+from) {
				t.Errorf("README.md does not put %s into %s as %s", from, v.Secret.SecretName, name)
			}
		}
	}
}

// user is who the pods' processes are, the test's own user if it may not choose.
func user(m manifests) *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	s := m.pod().SecurityContext
	return &syscall.Credential{Uid: uint32(*s.RunAsUser), Gid: uint32(*s.RunAsGroup), Groups: []uint32{uint32(*s.FSGroup)}}
}

// mountSecrets writes the secrets as a kubelet does: owned by root and the pod's group, with the
// mode of the volume.
func mountSecrets(t *testing.T, m manifests, made, dir string) {
	t.Helper()
	for _, v := range m.pod().Volumes {
		if v.Secret == nil {
			continue
		}
		for name, from := range secrets[v.Secret.SecretName] {
			path := filepath.Join(dir+mountPath(t, m, v.Name), name)
			write(t, path, read(t, filepath.Join(made, from)), os.FileMode(*v.Secret.DefaultMode))
			if os.Geteuid() == 0 {
				if err := os.Chown(path, 0, int(*m.pod().SecurityContext.FSGroup)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// pod is a process in the place of a pod.
type pod struct {
	host string
	cmd  *exec.Cmd
	log  bytes.Buffer
	done chan error
}

// testPods are the addresses in the place of the pods': loopback has room for many.
func podHost(ordinal int) string { return "127.0.77." + strconv.Itoa(ordinal+1) }

// startPod runs a pod of the stateful set. Only what is about addresses is said otherwise than in
// the manifests.
func startPod(t *testing.T, m manifests, program, made string, ordinal int) *pod {
	t.Helper()
	// Below /tmp itself: the pods' user must be able to walk there.
	dir, err := os.MkdirTemp("", "lightning-pod-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	args, env := podCommand(t, m, ordinal, dir)
	mountSecrets(t, m, made, dir)
	data := dir + mountPath(t, m, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	p := &pod{host: podHost(ordinal), cmd: exec.Command(program, args...), done: make(chan error, 1)}
	env["LIGHTNING_HOST"], env["LIGHTNING_ADVERTISE_HOST"] = p.host, p.host
	env["LIGHTNING_JOIN"] = podHost(0) + ":5379," + podHost(1) + ":5379," + podHost(2) + ":5379"
	for name, value := range env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if who := user(m); who != nil {
		p.cmd.SysProcAttr.Credential = who
		if err := os.Chown(data, int(who.Uid), int(who.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	return p
}

// probe asks as a kubelet does: the certificate is not compared with anything.
func (p *pod) probe(ctx context.Context, m manifests, probe *corev1.Probe) error {
	port := 0
	for _, c := range m.container().Ports {
		if c.Name == probe.HTTPGet.Port.String() {
			port = int(c.ContainerPort)
		}
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	url := fmt.Sprintf("%s://%s%s", strings.ToLower(string(probe.HTTPGet.Scheme)), net.JoinHostPort(p.host, strconv.Itoa(port)), probe.HTTPGet.Path)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := (&http.Client{Transport: transport, Timeout: 3 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	return nil
}

func (p *pod) waitFor(t *testing.T, m manifests, what string, probe *corev1.Probe) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := p.probe(ctx, m, probe)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s probe of %s: %v\n%s", what, p.host, err, p.log.String())
		case end := <-p.done:
			p.done <- end
			t.Fatalf("pod %s ended: %v\n%s", p.host, end, p.log.String())
		case <-tick.C:
		}
	}
}

// redis sends commands to a port of the pod over TLS and returns everything that is answered.
func (p *pod) redis(t *testing.T, port int32, ca, commands string) string {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(ca)) {
		t.Fatal("no authority")
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	// The name that clients inside of the cluster use.
	c, err := tls.DialWithDialer(dialer, "tcp", net.JoinHostPort(p.host, fmt.Sprint(port)), &tls.Config{RootCAs: pool, ServerName: "lightning.default.svc"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte(commands + "QUIT\r\n")); err != nil {
		t.Fatal(err)
	}
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(c); err != nil {
		t.Fatal(err)
	}
	return answer.String()
}

func TestPodsOfTheManifestsServeAndStop(t *testing.T) {
	m := load(t)
	out := t.TempDir()
	if text, err := exec.Command("make", "-s", "-C", root(), "release", "OUT="+out).CombinedOutput(); err != nil {
		t.Fatalf("make release: %v\n%s", err, text)
	}
	// A place that the pods' user can run it from.
	program := filepath.Join(os.TempDir(), fmt.Sprintf("lightning-node-%d", os.Getpid()))
	write(t, program, read(t, filepath.Join(out, "lightning-node")), 0o755)
	t.Cleanup(func() { os.Remove(program) })
	made := filepath.Join(t.TempDir(), "secrets")
	hosts := "lightning,lightning.default.svc,*.lightning-peers.default.svc.cluster.local"
	if text, err := exec.Command(filepath.Join(out, "lightning-cli"), "certs", "create", "--dir", made, "--hosts", hosts).CombinedOutput(); err != nil {
		t.Fatalf("lightning-cli certs create: %v\n%s", err, text)
	}
	var pods []*pod
	for i := range int(*m.set.Spec.Replicas) {
		pods = append(pods, startPod(t, m, program, made, i))
	}
	for _, p := range pods {
		p.waitFor(t, m, "startup", m.container().StartupProbe)
		p.waitFor(t, m, "readiness", m.container().ReadinessProbe)
		p.waitFor(t, m, "liveness", m.container().LivenessProbe)
	}
	ca, password := string(read(t, filepath.Join(made, "ca.crt"))), strings.TrimSpace(string(read(t, filepath.Join(made, "password"))))
	redis := m.client.Spec.Ports[0].Port
	auth := "AUTH " + password + "\r\n"
	if got := pods[0].redis(t, redis, ca, "GET greeting\r\n"); !strings.HasPrefix(got, "-NOAUTH") {
		t.Errorf("without the password: %q", got)
	}
	if got := pods[0].redis(t, redis, ca, auth+"SET greeting hello\r\n"); got != "+OK\r\n+OK\r\n+OK\r\n" {
		t.Errorf("SET: %q", got)
	}
	if got := pods[2].redis(t, redis, ca, auth+"GET greeting\r\n"); got != "+OK\r\n$5\r\nhello\r\n+OK\r\n" {
		t.Errorf("GET through another pod: %q", got)
	}
	stopPods(t, m, pods)
}

// stopPods ends the pods one after another, as a kubelet does.
func stopPods(t *testing.T, m manifests, pods []*pod) {
	t.Helper()
	grace := time.Duration(*m.pod().TerminationGracePeriodSeconds) * time.Second
	for _, p := range pods {
		began := time.Now()
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		timer := time.NewTimer(grace)
		select {
		case err := <-p.done:
			if err != nil {
				t.Errorf("pod %s ended with %v\n%s", p.host, err, p.log.String())
			}
			t.Logf("pod %s stopped in %v", p.host, time.Since(began).Round(time.Millisecond))
		case <-timer.C:
			t.Fatalf("pod %s did not stop within its %v", p.host, grace)
		}
		timer.Stop()
	}
}
