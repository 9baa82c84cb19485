package store

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/engine/inspect"
)

// statsJSON is what stats shows.
type statsJSON struct {
	Store          string      `json:"store"`
	Tables         int         `json:"tables"`
	Bytes          uint64      `json:"bytes"`
	Rows           uint64      `json:"rows"`
	Garbage        uint64      `json:"garbage_rows"`
	Levels         []levelJSON `json:"levels"`
	LogBatches     int         `json:"log_batches"` // not in tables
	LogTorn        bool        `json:"log_torn"`
	Debt           uint64      `json:"compaction_debt_bytes"`
	ReadPlaces     int         `json:"read_amplification"`
	LastVersion    string      `json:"last_version"`
	RetainVersions bool        `json:"retains_versions"`
	Replica        bool        `json:"replica"`
}

type levelJSON struct {
	Level      int    `json:"level"`
	Tables     int    `json:"tables"`
	Bytes      uint64 `json:"bytes"`
	Rows       uint64 `json:"rows"`
	Tombstones uint64 `json:"tombstones"`
	Garbage    uint64 `json:"garbage_rows"`
	Ranges     uint64 `json:"range_tombstones,omitempty"`
}

func statsOf(dir string, db *engine.DB) statsJSON {
	m := db.Metrics()
	s := statsJSON{
		Store: dir, Tables: m.Tables(), Bytes: m.Bytes(), LogBatches: m.Log.Replayed, LogTorn: m.Log.Torn,
		Debt: m.CompactionDebt, ReadPlaces: m.ReadAmplification, LastVersion: fmt.Sprint(db.LastVersion()),
		RetainVersions: retained(dir), Replica: db.Applied() != engine.Position{},
	}
	for level, l := range m.Levels {
		s.Rows, s.Garbage = s.Rows+l.Rows, s.Garbage+l.Garbage
		if l.TableCount > 0 {
			s.Levels = append(s.Levels, levelJSON{level, l.TableCount, l.Bytes, l.Rows, l.Tombstones, l.Garbage, l.RangeTombstones})
		}
	}
	return s
}

func (v *verbs) stats() *cobra.Command {
	return &cobra.Command{
		Use:   "stats DIR",
		Short: "Show tables, rows and the log by level",
		Long:  "Show what a store holds. Rows count every version and tombstone in tables; garbage are those that a compaction can drop.",
		Args:  v.Arguments(1, 1, "DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			return v.read(args[0], func(db *engine.DB) error {
				s := statsOf(args[0], db)
				if v.JSON() {
					return v.PrintJSON(s)
				}
				return v.Printf("%s", s.text())
			})
		},
	}
}

func (s *statsJSON) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "tables\t%d, %d bytes\nrows\t%d, garbage %d\n", s.Tables, s.Bytes, s.Rows, s.Garbage)
	for _, l := range s.Levels {
		fmt.Fprintf(&b, "level %d\t%d tables, %d bytes, %d rows, %d tombstones, garbage %d\n", l.Level, l.Tables, l.Bytes, l.Rows, l.Tombstones, l.Garbage)
		if l.Ranges > 0 {
			fmt.Fprintf(&b, "\t%d deleted ranges\n", l.Ranges)
		}
	}
	fmt.Fprintf(&b, "log\t%d batches that are not in tables%s\n", s.LogBatches, map[bool]string{true: ", torn at the end"}[s.LogTorn])
	fmt.Fprintf(&b, "debt\t%d bytes to compact\nreads\tlook into up to %d places\n", s.Debt, s.ReadPlaces)
	fmt.Fprintf(&b, "version\t%s%s\n", s.LastVersion, map[bool]string{true: ", older ones are kept"}[s.RetainVersions])
	return b.String()
}

func (v *verbs) health() *cobra.Command {
	return &cobra.Command{
		Use:   "health DIR",
		Short: "Say whether a store opens and what needs attention",
		Long: "Say whether a store opens and what needs attention. It does not read all of it: check does.\n\n" +
			"Exit code 4 when something needs attention, 9 when it is damaged.",
		Args: v.Arguments(1, 1, "DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			var notes []string
			err := v.read(args[0], func(db *engine.DB) error {
				notes = notesOn(args[0], db)
				return nil
			})
			if err != nil {
				return err
			}
			if v.JSON() {
				err = v.PrintJSON(map[string]any{"store": args[0], "healthy": len(notes) == 0, "notes": append([]string{}, notes...)})
			} else if len(notes) == 0 {
				err = v.Printf("healthy\n")
			}
			for _, note := range notes {
				if err == nil && !v.JSON() {
					err = v.Printf("%s\n", note)
				}
			}
			if err == nil && len(notes) > 0 {
				err = ErrUnhealthy
			}
			return err
		},
	}
}

// notesOn lists what needs attention.
func notesOn(dir string, db *engine.DB) (notes []string) {
	m := db.Metrics()
	if m.Log.Torn {
		notes = append(notes, fmt.Sprintf("the log ends torn in %s at offset %d, as after a crash; the next opening cuts it there", m.Log.TornFile, m.Log.TornOffset))
	}
	const many = 12 // where the defaults make writers wait
	if n := m.Levels[0].TableCount; n >= many {
		notes = append(notes, fmt.Sprintf("level 0 has %d tables: reads look into each; compact", n))
	}
	if all := statsOf(dir, db); all.Rows > 0 && all.Garbage*2 > all.Rows {
		notes = append(notes, fmt.Sprintf("%d of %d rows are garbage; compact", all.Garbage, all.Rows))
	}
	if lost, err := os.ReadDir(dir + "/lost"); err == nil && len(lost) > 0 {
		notes = append(notes, fmt.Sprintf("a repair has left %d files in lost; remove that directory when nobody needs them", len(lost)))
	}
	return notes
}

func (v *verbs) dump() *cobra.Command {
	var withValues bool
	cmd := &cobra.Command{
		Use:   "dump FILE",
		Short: "Show what a manifest, a table or a segment of the log holds",
		Long: "Show what a file of a store holds: MANIFEST, a table such as 000012.table, or a segment of the log such as 000003.log.\n" +
			"It takes no lock. Damage is shown where it is; exit code 9 says that there was some.",
		Args: v.Arguments(1, 1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := inspect.File(args[0], func(i *inspect.Item) error {
				if err := cmd.Context().Err(); err != nil {
					return err
				}
				return v.printItem(i, withValues)
			})
			return err
		},
	}
	cmd.Flags().BoolVar(&withValues, "values", false, "with the values of rows, and not only their sizes")
	return cmd
}

// printItem prints one piece: its kind and its fields, keys escaped.
func (v *verbs) printItem(i *inspect.Item, withValues bool) error {
	object := map[string]any{"kind": i.Kind}
	var line strings.Builder
	line.WriteString(i.Kind)
	for _, f := range i.Fields {
		name, value := f.Name, f.Value
		b, isBytes := value.([]byte)
		if name == "value" && !withValues {
			name, value, isBytes = "value_bytes", len(b), false
		}
		if isBytes {
			value = v.Escape(b)
			text, binary := jsonBytes(b)
			if binary != nil {
				object[name+"_b64"] = binary
			} else {
				object[name] = text
			}
		} else if n, ok := value.(uint64); ok {
			object[name] = fmt.Sprint(n) // it may not fit into a number of JavaScript
		} else {
			object[name] = value
		}
		fmt.Fprintf(&line, " %s=%v", name, value)
	}
	if v.JSON() {
		return v.PrintJSON(object)
	}
	return v.Printf("%s\n", line.String())
}
