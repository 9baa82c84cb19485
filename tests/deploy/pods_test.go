package deploy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
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
	mountConfig(t, m, dir)
	for _, arg := range m.container().Args {
		args = append(args, below(m, dir, arg))
	}
	return args, podEnvironment(t, m, ordinal)
}

// podEnvironment is the environment of a pod.
func podEnvironment(t *testing.T, m manifests, ordinal int) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, e := range m.container().Env {
		value := e.Value
		if e.ValueFrom != nil {
			value = downward(t, m, ordinal, e.ValueFrom)
		}
		for name, known := range env {
			value = strings.ReplaceAll(value, "$("+name+")", known)
		}
		if strings.Contains(value, "$(") {
			t.Fatalf("%s=%s names a variable that is not set before it", e.Name, value)
		}
		env[e.Name] = value
	}
	return env
}

// downward is what Kubernetes tells a pod of itself.
func downward(t *testing.T, m manifests, ordinal int, from *corev1.EnvVarSource) string {
	t.Helper()
	switch {
	case from.FieldRef != nil && from.FieldRef.FieldPath == "metadata.name":
		return fmt.Sprintf("%s-%d", m.set.Name, ordinal)
	case from.FieldRef != nil && from.FieldRef.FieldPath == "metadata.namespace":
		return "default"
	case from.ResourceFieldRef != nil && from.ResourceFieldRef.Resource == "limits.memory":
		limits := m.container().Resources.Limits
		return strconv.FormatInt(limits.Memory().Value(), 10)
	}
	t.Fatalf("nobody knows %v here", from)
	return ""
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

// pod is how a pod is reached.
type pod struct{ host string }

// newVolumes makes the folder that has the volumes of a pod in it.
func newVolumes(t *testing.T) string {
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
	return dir
}

// probe asks as a kubelet does.
func (p *pod) probe(ctx context.Context, m manifests, probe *corev1.Probe) error {
	_, err := p.get(ctx, m, probe.HTTPGet.Port.String(), probe.HTTPGet.Path)
	return err
}

// get asks a port by its name. The certificate is not compared with anything.
func (p *pod) get(ctx context.Context, m manifests, name, path string) (string, error) {
	port := 0
	for _, c := range m.container().Ports {
		if c.Name == name {
			port = int(c.ContainerPort)
		}
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	url := fmt.Sprintf("https://%s%s", net.JoinHostPort(p.host, strconv.Itoa(port)), path)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	res, err := (&http.Client{Transport: transport, Timeout: 3 * time.Second}).Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", url, res.Status)
	}
	return string(body), nil
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

// stage is what the pods of a test share.
type stage struct {
	m            manifests
	image, made  string // the folders of the programs and of the secrets
	ca, password string
}

func newStage(t *testing.T) stage {
	t.Helper()
	out := t.TempDir()
	if text, err := exec.Command("make", "-s", "-C", root(), "release", "OUT="+out).CombinedOutput(); err != nil {
		t.Fatalf("make release: %v\n%s", err, text)
	}
	s := stage{m: load(t), image: out, made: filepath.Join(t.TempDir(), "secrets")}
	hosts := "lightning,lightning.default.svc,*.lightning-peers.default.svc.cluster.local"
	if text, err := exec.Command(filepath.Join(out, "lightning-cli"), "certs", "create", "--dir", s.made, "--hosts", hosts).CombinedOutput(); err != nil {
		t.Fatalf("lightning-cli certs create: %v\n%s", err, text)
	}
	s.ca, s.password = string(read(t, filepath.Join(s.made, "ca.crt"))), strings.TrimSpace(string(read(t, filepath.Join(s.made, "password"))))
	return s
}

// ask sends commands by the Redis protocol, with the password before them.
func (s stage) ask(t *testing.T, p *pod, commands string) string {
	t.Helper()
	got := p.redis(t, s.m.client.Spec.Ports[0].Port, s.ca, "AUTH "+s.password+"\r\n"+commands)
	answer, ok := strings.CutPrefix(got, "+OK\r\n")
	if !ok {
		t.Errorf("AUTH: %q", got)
	}
	return strings.TrimSuffix(answer, "+OK\r\n")
}
