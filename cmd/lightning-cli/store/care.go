package store

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/jsontext"
)

func jsonBytes(b []byte) (text any, binary any) {
	t, bin := jsontext.Split(b)
	if bin != nil {
		return nil, *bin
	}
	return *t, nil
}

func (v *verbs) check() *cobra.Command {
	return &cobra.Command{
		Use:     "check DIR",
		Aliases: []string{"verify-integrity"},
		Short:   "Read every byte of a store and name all damage",
		Long:    "Read every byte of a store with all checks, and name each damaged file with the offset. Exit code 9 when there is damage.",
		Args:    v.Arguments(1, 1, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return v.read(args[0], func(db *engine.DB) error { return v.scrub(cmd, args[0], db) })
		},
	}
}

func (v *verbs) scrub(cmd *cobra.Command, dir string, db *engine.DB) error {
	count, end := v.Progress("")
	last := uint64(0)
	report, err := db.Scrub(cmd.Context(), engine.ScrubOptions{Progress: func(_ string, done, _ uint64) {
		count(0, int(done-last))
		last = done
	}})
	end()
	if err != nil {
		return err
	}
	findings := make([]string, len(report.Findings))
	for i, found := range report.Findings {
		findings[i] = found.Error()
	}
	if v.JSON() {
		err = v.PrintJSON(map[string]any{"store": dir, "tables": report.Tables, "bytes": report.Bytes, "damage": findings})
	} else {
		err = v.Printf("%d tables, %d bytes read, %d damaged files\n%s", report.Tables, report.Bytes, len(findings), lines("damaged: ", findings))
	}
	if err == nil && len(findings) > 0 {
		err = fmt.Errorf("%s: %w; lightning-cli store repair keeps what can be read", dir, engine.ErrCorrupt)
	}
	return err
}

func lines(before string, all []string) string {
	var b strings.Builder
	for _, line := range all {
		b.WriteString(before + line + "\n")
	}
	return b.String()
}

func (v *verbs) repair() *cobra.Command {
	var families bool
	cmd := &cobra.Command{
		Use:   "repair DIR",
		Short: "Make a damaged store open again, and list what is lost",
		Long: "Keep every row of a damaged store that its checksum allows to read, rebuild the manifest if it is lost, and list what is\n" +
			"lost and which keys may show an old or deleted value because of that. Files that are replaced move to the folder lost in the\n" +
			"store. A store that is whole is not changed. What Ctrl-C or a crash cut short goes on when it is run again.",
		Args: v.Arguments(1, 1, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := embedded(args[0]); err != nil {
				return err
			}
			if err := writable(args[0]); err != nil && !isNoStore(err) {
				return err
			}
			count, end := v.Progress("files")
			o := engine.Options{Logger: counting(count), Families: families}
			report, err := engine.Repair(cmd.Context(), args[0], o)
			end()
			if err != nil {
				return err
			}
			return v.printRepair(args[0], report)
		},
	}
	cmd.Flags().BoolVar(&families, "families", false, "the store has column families, if the manifest that says so is lost")
	return cmd
}

func (v *verbs) printRepair(dir string, r *engine.RepairReport) error {
	damage := make([]string, len(r.Damage))
	for i, d := range r.Damage {
		damage[i] = v.damageText(d)
	}
	exposed := make([]string, len(r.Exposed))
	for i, key := range r.Exposed {
		exposed[i] = v.Escape(key)
	}
	if v.JSON() {
		return v.PrintJSON(map[string]any{
			"store": dir, "changed": r.Changed, "resumed": r.Resumed, "manifest_rebuilt": r.ManifestRebuilt, "damage": damage,
			"rows": r.Rows, "batches": r.Batches, "any_key": r.AnyKey, "torn_file": r.TornFile, "torn_offset": r.TornOffset,
			"exposed_count": r.ExposedCount, "exposed": exposed, "families": append([]string{}, r.Families...), "moved": r.Moved, "list": r.ReportFile,
		})
	}
	if !r.Changed {
		return v.Printf("nothing is damaged, nothing was changed\n")
	}
	text := lines("damaged: ", damage) + lines("may be old or deleted: ", exposed)
	for _, name := range r.Families {
		text += fmt.Sprintf("the name of a column family is lost: it is %s now\n", name)
	}
	if r.AnyKey {
		text += "of some of what is lost nobody knows the keys: any value may be old or deleted\n"
	}
	if r.TornFile != "" {
		text += fmt.Sprintf("the log ends in the middle of a record: %s at offset %d\n", r.TornFile, r.TornOffset)
	}
	return v.Printf("%srepaired: %d rows written anew, %d files moved to lost, %d keys may be old or deleted; %s has all of this\n",
		text, r.Rows, len(r.Moved), r.ExposedCount, r.ReportFile)
}

func (v *verbs) damageText(d engine.RepairDamage) string {
	text := d.Err.Error()
	switch {
	case d.Lost:
		text += ": all of it is lost"
	case d.Hole:
		text += fmt.Sprintf(": lost from %q to %q", v.Escape(d.Start), v.Escape(d.End))
	}
	if d.FirstBatch != 0 {
		text += fmt.Sprintf(": batches %d to %d are lost", d.FirstBatch, d.LastBatch)
	}
	return text
}

func (v *verbs) compact() *cobra.Command {
	return &cobra.Command{
		Use:   "compact DIR",
		Short: "Rewrite a store without what nobody can read any more",
		Long:  "Merge all tables into one run. It needs as much free space meanwhile as the store has. Versions are kept if the store keeps them.",
		Args:  v.Arguments(1, 1, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := writable(args[0]); err != nil {
				return err
			}
			count, end := v.Progress("")
			var before, after atomic.Uint64
			o := as(args[0], engine.Balanced.Options())
			o.Events = func(e engine.Event) {
				if e.Kind == engine.EventTableCreated {
					count(0, int(e.Bytes))
				}
			}
			err := with(args[0], o, func(db *engine.DB) error {
				m := db.Metrics()
				before.Store(m.Bytes())
				if err := db.Compact(cmd.Context()); err != nil {
					return err
				}
				m = db.Metrics()
				after.Store(m.Bytes())
				return nil
			})
			end()
			if err != nil {
				return err
			}
			if v.JSON() {
				return v.PrintJSON(map[string]any{"store": args[0], "bytes_before": before.Load(), "bytes": after.Load()})
			}
			return v.Printf("compacted %s: %d bytes, %d before\n", args[0], after.Load(), before.Load())
		},
	}
}

func (v *verbs) clearCache() *cobra.Command {
	return &cobra.Command{
		Use:   "clear-cache DIR",
		Short: "Say why a closed store has no cache to clear",
		Long: "The caches of a store are in the memory of the process that has it open, and end with it. So there is nothing to clear in\n" +
			"a directory: this checks that it is a store that nobody has open, and says so. A program clears its own caches\n" +
			"(DB.ClearCaches), and lightning-cli node clear-cache those of a node that runs.",
		Args: v.Arguments(1, 1, "DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := v.read(args[0], func(*engine.DB) error { return nil }); err != nil {
				return err
			}
			return v.done("nothing to clear: nobody has it open, and caches are in memory only:", args[0])
		},
	}
}

// since is the time a step of the benchmark took, never zero.
func since(start time.Time) time.Duration { return max(time.Since(start), time.Microsecond) }
