package node

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// Usage writes the flags of `lightning-node start`.
func Usage(w io.Writer) {
	fs := pflag.NewFlagSet("lightning-node start", pflag.ContinueOnError)
	settings(new(Config), fs)
	fmt.Fprintf(w, "Usage: lightning-node start --data-dir DIR [flags]\n\n%s\n"+
		"Each flag can also be set by the environment (--data-dir: LIGHTNING_DATA_DIR) or in the\n"+
		"YAML file named by --config (data_dir). The command line wins, then the environment.\n", fs.FlagUsages())
}

// WriteConfigDoc writes docs/config.md.
func WriteConfigDoc(w io.Writer) error {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	fs.SortFlags = false
	settings(new(Config), fs)
	var b strings.Builder
	b.WriteString("# Configuration\n\nGenerated from the table in `internal/node/config.go`; do not edit.\n\n" +
		"The command line wins over the environment, the environment over the YAML file named by\n`--config`.\n\n" +
		"| flag | environment | YAML | default | meaning |\n|---|---|---|---|---|\n")
	fs.VisitAll(func(f *pflag.Flag) {
		def := f.DefValue
		if def == "" || def == "[]" {
			def = "–"
		}
		fmt.Fprintf(&b, "| `--%s` | `%s` | `%s` | %s | %s |\n", f.Name, envName(f.Name), yamlKey(f.Name), def, f.Usage)
	})
	_, err := io.WriteString(w, b.String())
	return err
}
