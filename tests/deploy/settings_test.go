package deploy

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/lightning-db/lightning/internal/node"
)

// without is an environment without anything in it.
func without(string) (string, bool) { return "", false }

// defaultConfig is what a node does that is told nothing.
func defaultConfig(t *testing.T) node.Config {
	t.Helper()
	c, err := node.LoadConfig([]string{"--data-dir=/data"}, without)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// portsOf are the ports of a node, by the names that the manifests give them.
func portsOf(c node.Config) map[string]uint16 {
	return map[string]uint16{
		"redis": c.RESPPort, "redis-cluster": c.RESPClusterPort, "grpc": c.GRPCPort, "http": c.HTTPPort,
		"gossip": c.GossipPort, "gossip-udp": c.GossipPort,
	}
}

// podConfig is what a pod's node makes of its arguments, environment and file.
func podConfig(t *testing.T) node.Config {
	t.Helper()
	m := load(t)
	args, env := podCommand(t, m, 0, t.TempDir())
	c, err := node.LoadConfig(args[1:], func(name string) (string, bool) { value, ok := env[name]; return value, ok })
	if err != nil {
		t.Fatalf("lightning-node %s: %v", strings.Join(args, " "), err)
	}
	return c
}

func TestTheNodeTakesTheSettingsOfThePods(t *testing.T) {
	c := podConfig(t)
	m := load(t)
	if c.Name != "lightning-0" || c.AdvertiseHost != "lightning-0."+m.peers.Name+".default.svc.cluster.local" {
		t.Errorf("the first pod is called %q and reached as %q", c.Name, c.AdvertiseHost)
	}
	if want := fmt.Sprintf("%s:%d", m.peers.Name, c.GossipPort); len(c.Join) != 1 || c.Join[0] != want {
		t.Errorf("pods look for each other at %v, want %s", c.Join, want)
	}
	if c.BootstrapExpect != int(*m.set.Spec.Replicas) {
		t.Errorf("%d pods wait for %d nodes", *m.set.Spec.Replicas, c.BootstrapExpect)
	}
}

func TestPortsServicesAndProbesAreTheNodes(t *testing.T) {
	m, ports := load(t), portsOf(podConfig(t))
	declared := map[string]bool{}
	for _, p := range m.container().Ports {
		declared[p.Name] = true
		if want, ok := ports[p.Name]; !ok || int32(want) != p.ContainerPort {
			t.Errorf("port %s of the container is %d, the node's is %d", p.Name, p.ContainerPort, want)
		}
	}
	for name := range ports {
		if !declared[name] {
			t.Errorf("the container does not declare %s", name)
		}
	}
	for _, s := range []*corev1.Service{m.client, m.peers} {
		for _, p := range s.Spec.Ports {
			if !declared[p.TargetPort.String()] || int32(ports[p.TargetPort.String()]) != p.Port {
				t.Errorf("service %s: port %s is %d to %s", s.Name, p.Name, p.Port, p.TargetPort.String())
			}
		}
	}
	c := m.container()
	for _, probe := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		if get := probe.HTTPGet; get.Port.String() != "http" || get.Scheme != corev1.URISchemeHTTPS {
			t.Errorf("probe %s asks port %s by %s", get.Path, get.Port.String(), get.Scheme)
		}
	}
	if c.LivenessProbe.HTTPGet.Path == c.ReadinessProbe.HTTPGet.Path {
		t.Error("a node that cannot serve would be restarted")
	}
}

func TestTheExampleConfigurationIsTaken(t *testing.T) {
	file := filepath.Join(root(), "deploy/config/lightning.yaml")
	c, err := node.LoadConfig([]string{"--config=" + file}, without)
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir == "" || c.PasswordFile == "" || c.TLSCert == "" || c.GossipKeyFile == "" || c.Insecure {
		t.Errorf("the example leaves something open: %+v", c)
	}
}

func TestTheUnitStartsTheNodeAndGivesUpWhereItMust(t *testing.T) {
	unit := string(read(t, filepath.Join(root(), "deploy/systemd/lightning-node.service")))
	setting := func(name string) string {
		found := regexp.MustCompile(`(?m)^` + name + `=(.*)$`).FindStringSubmatch(unit)
		if found == nil {
			t.Fatalf("the unit does not set %s", name)
		}
		return found[1]
	}
	command := strings.Fields(setting("ExecStart"))
	if filepath.Base(command[0]) != "lightning-node" || command[1] != "start" {
		t.Fatalf("the unit starts %v", command)
	}
	example := filepath.Join(root(), "deploy/config/lightning.yaml")
	for i, arg := range command {
		command[i] = strings.Replace(arg, "/etc/lightning/lightning.yaml", example, 1)
	}
	c, err := node.LoadConfig(command[2:], without)
	if err != nil {
		t.Fatal(err)
	}
	if want := "/var/lib/" + setting("StateDirectory"); c.DataDir != want {
		t.Errorf("the node keeps its data in %s, the unit makes %s", c.DataDir, want)
	}
	want := fmt.Sprint(node.ExitConfig, " ", node.ExitDataDir, " ", node.ExitRefused)
	if got := setting("RestartPreventExitStatus"); got != want {
		t.Errorf("the unit gives up after %s, trying again is in vain after %s", got, want)
	}
}

func TestTheImageHoldsTheReleasedProgramsAndNoMore(t *testing.T) {
	text := string(read(t, filepath.Join(root(), "deploy/docker/Dockerfile")))
	stages := regexp.MustCompile(`(?m)^FROM `).Split(text, -1)
	last := stages[len(stages)-1]
	if !strings.HasPrefix(last, "scratch\n") {
		t.Error("the image has a system in it")
	}
	user := regexp.MustCompile(`(?m)^USER (\d+):(\d+)$`).FindStringSubmatch(last)
	if user == nil || user[1] != fmt.Sprint(*load(t).pod().SecurityContext.RunAsUser) {
		t.Errorf("the image runs as %v, the pods as %d", user, *load(t).pod().SecurityContext.RunAsUser)
	}
	exposed := regexp.MustCompile(`(?m)^EXPOSE (.*)$`).FindStringSubmatch(last)
	for name, port := range portsOf(defaultConfig(t)) {
		protocol := "/tcp"
		if name == "gossip-udp" {
			protocol = "/udp"
		}
		number := strconv.Itoa(int(port))
		if fields := " " + exposed[1] + " "; !strings.Contains(fields, " "+number+" ") && !strings.Contains(fields, " "+number+protocol+" ") {
			t.Errorf("the image does not expose %s, %s", name, number)
		}
	}
	out := t.TempDir()
	if text, err := exec.Command("make", "-s", "-C", root(), "release", "OUT="+out, "VERSION=9.8.7", "COMMIT=0123456789ab", "DATE=2026-01-02T03:04:05Z").CombinedOutput(); err != nil {
		t.Fatalf("make release: %v\n%s", err, text)
	}
	for _, name := range []string{"lightning-node", "lightning-cli"} {
		if !strings.Contains(last, "/out/"+name+" ") {
			t.Errorf("the image lacks %s", name)
		}
		checkStatic(t, filepath.Join(out, name))
		version, err := exec.Command(filepath.Join(out, name), "version").CombinedOutput()
		if err != nil || !bytes.Contains(version, []byte("9.8.7")) || !bytes.Contains(version, []byte("0123456789ab")) {
			t.Errorf("%s version: %v: %s", name, err, version)
		}
	}
	if entries, err := os.ReadDir(out); err != nil || len(entries) != 2 {
		t.Errorf("a release has %d programs (%v)", len(entries), err)
	}
}

// checkStatic refuses a program that needs a loader or libraries, which scratch does not have.
func checkStatic(t *testing.T, path string) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Errorf("%s needs a loader", path)
		}
	}
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("%s needs %v (%v)", path, libraries, err)
	}
}
