package deploy

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// root is the top of the repository.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

func base(name string) string { return filepath.Join(root(), "deploy/k8s/base", name) }

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// decode reads a manifest as the types of Kubernetes and refuses fields that they do not have.
func decode[T any](t *testing.T, name string) *T {
	t.Helper()
	into := new(T)
	if err := yaml.UnmarshalStrict(read(t, base(name)), into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return into
}

// manifests is the base as Kubernetes reads it.
type manifests struct {
	set            *appsv1.StatefulSet
	client, peers  *corev1.Service
	budget         *policyv1.PodDisruptionBudget
	serviceAccount *corev1.ServiceAccount
}

func load(t *testing.T) manifests {
	t.Helper()
	return manifests{
		set:            decode[appsv1.StatefulSet](t, "statefulset.yaml"),
		client:         decode[corev1.Service](t, "service.yaml"),
		peers:          decode[corev1.Service](t, "service-peers.yaml"),
		budget:         decode[policyv1.PodDisruptionBudget](t, "poddisruptionbudget.yaml"),
		serviceAccount: decode[corev1.ServiceAccount](t, "serviceaccount.yaml"),
	}
}

func (m manifests) pod() corev1.PodSpec         { return m.set.Spec.Template.Spec }
func (m manifests) container() corev1.Container { return m.pod().Containers[0] }

func TestTheKustomizationHasEveryFileOfTheBase(t *testing.T) {
	var k struct {
		APIVersion         string   `json:"apiVersion"`
		Kind               string   `json:"kind"`
		Resources          []string `json:"resources"`
		ConfigMapGenerator []struct {
			Name  string   `json:"name"`
			Files []string `json:"files"`
		} `json:"configMapGenerator"`
	}
	if err := yaml.UnmarshalStrict(read(t, base("kustomization.yaml")), &k); err != nil {
		t.Fatal(err)
	}
	named := append([]string{"kustomization.yaml"}, k.Resources...)
	for _, g := range k.ConfigMapGenerator {
		named = append(named, g.Files...)
	}
	entries, err := os.ReadDir(base(""))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(named, e.Name()) {
			t.Errorf("%s is in no list of kustomization.yaml", e.Name())
		}
	}
	if len(entries) != len(named) {
		t.Errorf("kustomization.yaml names %d files, and there are %d", len(named), len(entries))
	}
}

func TestSelectorsFindThePods(t *testing.T) {
	m := load(t)
	labels := m.set.Spec.Template.Labels
	for what, selector := range map[string]map[string]string{
		"the stateful set":   m.set.Spec.Selector.MatchLabels,
		"the client service": m.client.Spec.Selector,
		"the peer service":   m.peers.Spec.Selector,
		"the budget":         m.budget.Spec.Selector.MatchLabels,
	} {
		if len(selector) == 0 {
			t.Errorf("%s selects every pod", what)
		}
		for key, value := range selector {
			if labels[key] != value {
				t.Errorf("%s selects %s=%s, and pods have %q", what, key, value, labels[key])
			}
		}
	}
	if m.set.Spec.ServiceName != m.peers.Name {
		t.Errorf("the pods' names are those of service %q, and the peer service is %q", m.set.Spec.ServiceName, m.peers.Name)
	}
	if m.pod().ServiceAccountName != m.serviceAccount.Name {
		t.Errorf("pods run as %q, and there is %q", m.pod().ServiceAccountName, m.serviceAccount.Name)
	}
}

func TestAColdStartAndALostPodDoNotDeadlock(t *testing.T) {
	m := load(t)
	if m.set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement {
		t.Error("pods start one after another: the first would wait for a majority for ever")
	}
	if m.peers.Spec.ClusterIP != corev1.ClusterIPNone || !m.peers.Spec.PublishNotReadyAddresses {
		t.Error("pods that are not ready yet must be found by name")
	}
	if m.client.Spec.PublishNotReadyAddresses || m.client.Spec.ClusterIP == corev1.ClusterIPNone {
		t.Error("clients are to be sent to ready pods only")
	}
	if got := m.budget.Spec.MaxUnavailable.IntValue(); got != 1 {
		t.Errorf("%d pods may be away at once", got)
	}
	if *m.budget.Spec.UnhealthyPodEvictionPolicy != policyv1.AlwaysAllow {
		t.Error("a broken pod would keep a machine from being drained")
	}
	if *m.set.Spec.PersistentVolumeClaimRetentionPolicy != (appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{
		WhenDeleted: appsv1.RetainPersistentVolumeClaimRetentionPolicyType, WhenScaled: appsv1.RetainPersistentVolumeClaimRetentionPolicyType,
	}) {
		t.Error("volumes must outlive the stateful set and scaling")
	}
}

// The rules are those of the Pod Security Standard "restricted", and that the root is read-only.
func TestPodsRunWithoutPrivileges(t *testing.T) {
	pod, c := load(t).pod(), load(t).container()
	s := c.SecurityContext
	switch {
	case pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken:
		t.Error("pods get a token for Kubernetes, which they never use")
	case !*pod.SecurityContext.RunAsNonRoot || *pod.SecurityContext.RunAsUser == 0:
		t.Error("pods run as root")
	case pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
		t.Error("no seccomp profile")
	case *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem:
		t.Error("the container may escalate or write its root")
	case !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0:
		t.Error("the container keeps capabilities")
	case pod.HostNetwork || pod.HostPID || pod.HostIPC:
		t.Error("the pod shares namespaces of the machine")
	}
	for _, v := range pod.Volumes {
		if v.HostPath != nil {
			t.Errorf("volume %s is a folder of the machine", v.Name)
		}
	}
	for _, mount := range c.VolumeMounts {
		if mount.SubPath != "" {
			t.Errorf("%s is mounted by subPath and would never be renewed", mount.MountPath)
		}
	}
}

// What watches whether a node is insecure may say the word.
func TestNothingInDeployIsInsecure(t *testing.T) {
	watches := []string{"grafana", "monitoring", "prometheus"}
	err := filepath.WalkDir(filepath.Join(root(), "deploy"), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && slices.Contains(watches, d.Name()) {
			return filepath.SkipDir
		}
		if err != nil || d.IsDir() {
			return err
		}
		for i, line := range strings.Split(string(read(t, path)), "\n") {
			line, _, _ = strings.Cut(line, "#") // comments may speak of it
			if filepath.Ext(path) != ".md" && strings.Contains(strings.ToLower(line), "insecure") {
				t.Errorf("%s:%d: %s", path, i+1, line)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
