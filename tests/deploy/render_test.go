package deploy

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/yannh/kubeconform/pkg/validator"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// overlays are what is applied as a whole.
var overlays = []string{"base", "production", "monitoring"}

// render does what kubectl apply -k would send.
func render(t *testing.T, overlay string) resmap.ResMap {
	t.Helper()
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(root(), "deploy/k8s", overlay))
	if err != nil {
		t.Fatalf("%s: %v", overlay, err)
	}
	return rendered
}

// openAPI is what the API server of this version says of its resources. Only this file of the module is read.
const openAPI = "k8s.io/kubernetes@v1.37.2"

// schemas makes a folder with a strict JSON schema for each kind, once for all tests.
var schemas = sync.OnceValues(func() (string, error) {
	var module struct{ Dir, Error string }
	command := exec.Command("go", "mod", "download", "-json", openAPI)
	command.Dir = os.TempDir()
	text, err := command.Output()
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(text, &module); err != nil {
		return "", err
	}
	text, err = os.ReadFile(filepath.Join(module.Dir, "api/openapi-spec/swagger.json"))
	if err != nil {
		return "", err
	}
	if schemasDir, err = os.MkdirTemp("", "lightning-schemas-"); err != nil {
		return "", err
	}
	return schemasDir, writeSchemas(schemasDir, text)
})

// schemasDir is what TestMain removes, empty when no test wanted schemas.
var schemasDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if schemasDir != "" {
		os.RemoveAll(schemasDir)
	}
	os.Exit(code)
}

// writeSchemas writes a schema of each kind that the OpenAPI document names. Objects take no field that they do not list.
func writeSchemas(dir string, openAPI []byte) error {
	var document struct {
		Definitions map[string]map[string]any `json:"definitions"`
	}
	if err := json.Unmarshal(openAPI, &document); err != nil {
		return err
	}
	for name, definition := range document.Definitions {
		switch {
		case strings.HasSuffix(name, ".IntOrString"), strings.HasSuffix(name, ".Quantity"):
			delete(definition, "format")
			definition["type"] = []string{"string", "number"}
		case definition["properties"] != nil:
			definition["additionalProperties"] = false
		}
	}
	for name, definition := range document.Definitions {
		kinds, _ := definition["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 {
			continue // options of calls are of every group
		}
		kind := kinds[0].(map[string]any)
		file := kind["kind"].(string)
		if group := kind["group"].(string); group != "" {
			file += "-" + strings.Split(group, ".")[0]
		}
		file += "-" + kind["version"].(string) + ".json"
		schema, err := json.Marshal(map[string]any{"$ref": "#/definitions/" + name, "definitions": document.Definitions})
		if err != nil {
			return err
		}
		if wanted(kind["kind"].(string)) {
			if err := os.WriteFile(filepath.Join(dir, strings.ToLower(file)), schema, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// wanted keeps the folder small: each schema has all definitions in it.
func wanted(kind string) bool {
	switch kind {
	case "ServiceAccount", "Service", "StatefulSet", "PodDisruptionBudget", "ConfigMap", "NetworkPolicy":
		return true
	}
	return false
}

// TestManifestsHaveTheFormThatKubernetesWants checks what is applied against the schemas of the API server. Kinds
// that are not Kubernetes' own are read strictly as the types of their makers.
func TestManifestsHaveTheFormThatKubernetesWants(t *testing.T) {
	v := newValidator(t)
	for _, overlay := range overlays {
		for _, resource := range render(t, overlay).Resources() {
			text, err := resource.AsYAML()
			if err != nil {
				t.Fatal(err)
			}
			switch resource.GetKind() {
			case "ServiceMonitor":
				err = yaml.UnmarshalStrict(text, new(monitoring.ServiceMonitor))
			case "PrometheusRule":
				err = yaml.UnmarshalStrict(text, new(monitoring.PrometheusRule))
			default:
				err = validate(v, text)
			}
			if err != nil {
				t.Errorf("%s: %s %s: %v", overlay, resource.GetKind(), resource.GetName(), err)
			}
		}
	}
}

func newValidator(t *testing.T) validator.Validator {
	t.Helper()
	dir, err := schemas()
	if err != nil {
		t.Fatal(err)
	}
	v, err := validator.New([]string{dir + "/{{ .ResourceKind }}{{ .KindSuffix }}.json"}, validator.Opts{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func validate(v validator.Validator, text []byte) error {
	for _, result := range v.Validate("", io.NopCloser(bytes.NewReader(text))) {
		if result.Status != validator.Valid {
			return result.Err
		}
	}
	return nil
}

// TestTheSchemasRefuseWhatIsWrong shows that the check above can fail.
func TestTheSchemasRefuseWhatIsWrong(t *testing.T) {
	v := newValidator(t)
	good := string(read(t, base("statefulset.yaml")))
	if err := validate(v, []byte(good)); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string][2]string{
		"a field that nobody knows":   {"serviceName:", "servicename:"},
		"a number that is a text":     {"replicas: 3", "replicas: three"},
		"a field in the wrong place":  {"fsGroup: 65532", "fsgroup: 65532"},
		"a list that is missing":      {"selector:\n    matchLabels:\n      app.kubernetes.io/name: lightning\n  template:", "template:"},
		"a limit that is a structure": {"memory: 2Gi", "memory: {limit: 2Gi}"},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Errorf("%s: the manifest does not have %q", what, change[0])
		}
		if err := validate(v, []byte(bad)); err == nil {
			t.Errorf("%s passes", what)
		}
	}
}

// TestProductionDiffersOnlyWhereItSaysSo: an overlay that loses a volume or a probe of the base is found out late.
func TestProductionDiffersOnlyWhereItSaysSo(t *testing.T) {
	find := func(overlay, kind string) map[string]any {
		for _, resource := range render(t, overlay).Resources() {
			if resource.GetKind() == kind {
				content, err := resource.Map()
				if err != nil {
					t.Fatal(err)
				}
				return content
			}
		}
		t.Fatalf("%s has no %s", overlay, kind)
		return nil
	}
	of, in := find("base", "StatefulSet"), find("production", "StatefulSet")
	var differ []string
	compare("", of, in, &differ)
	allowed := []string{".spec.template.spec.topologySpreadConstraints", ".spec.template.spec.containers.0.resources", ".spec.volumeClaimTemplates.0.spec.resources"}
	for _, path := range differ {
		ok := false
		for _, prefix := range allowed {
			ok = ok || strings.HasPrefix(path, prefix)
		}
		if !ok {
			t.Errorf("production differs from the base in %s", path)
		}
	}
	if len(differ) == 0 {
		t.Error("production is the base")
	}
}

// compare lists the paths where two documents differ.
func compare(path string, a, b any, differ *[]string) {
	switch a := a.(type) {
	case map[string]any:
		b, _ := b.(map[string]any)
		for key := range b {
			if _, ok := a[key]; !ok {
				*differ = append(*differ, path+"."+key)
			}
		}
		for key, value := range a {
			compare(path+"."+key, value, b[key], differ)
		}
	case []any:
		b, _ := b.([]any)
		if len(a) != len(b) {
			*differ = append(*differ, path)
			return
		}
		for i, value := range a {
			compare(path+"."+strconv.Itoa(i), value, b[i], differ)
		}
	default:
		if a != b {
			*differ = append(*differ, path)
		}
	}
}
