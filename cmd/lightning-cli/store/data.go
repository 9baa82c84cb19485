package store

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/jsontext"
)

// rowJSON is a row as JSON shows it.
type rowJSON struct {
	Key          *string `json:"key,omitempty"`
	KeyBase64    *[]byte `json:"key_b64,omitempty"`
	Value        *string `json:"value,omitempty"`
	ValueBase64  *[]byte `json:"value_b64,omitempty"`
	Version      string  `json:"version"`
	ExpiryMillis uint64  `json:"expires_at_ms,omitempty"`
}

func (v *verbs) create() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create DIR",
		Short: "Make an empty store",
		Long: "Make an empty store in a directory that is missing or empty. A profile says how its files are cut while this program\n" +
			"has it open; it is not kept, as a program may open the store with any options. docs/engine.md lists them.",
		Args: v.Arguments(1, 1, "DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := engine.ParseProfile(v.profile)
			if err != nil {
				return v.Usage("--profile: %w", err)
			}
			if names, err := os.ReadDir(args[0]); err == nil && len(names) > 0 {
				return v.Usage("%s is not empty", args[0])
			}
			if err := embedded(args[0]); err != nil {
				return err
			}
			if err := with(args[0], p.Options(), func(*engine.DB) error { return nil }); err != nil {
				return err
			}
			return v.done("created", args[0])
		},
	}
	v.addProfile(cmd)
	return cmd
}

func (v *verbs) addProfile(cmd *cobra.Command) {
	var names []string
	for _, p := range engine.Profiles() {
		names = append(names, p.String())
	}
	cmd.Flags().StringVar(&v.profile, "profile", engine.Balanced.String(), strings.Join(names, ", "))
}

// done says what a verb without a result has done.
func (v *verbs) done(what, dir string) error {
	if v.JSON() {
		return v.PrintJSON(map[string]string{"done": what, "store": dir})
	}
	return v.Printf("%s %s\n", what, dir)
}

func expired(r engine.Row) bool {
	return r.ExpiryMillis != 0 && r.ExpiryMillis <= uint64(time.Now().UnixMilli())
}

func (v *verbs) get() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "get DIR KEY",
		Short: "Print the value of a key",
		Long:  "Print the value of a key, byte for byte; on a terminal a line feed follows. Exit code 3 when there is no such key.",
		Args:  v.Arguments(2, 2, "DIR and KEY"),
		RunE: func(_ *cobra.Command, args []string) error {
			key, err := v.bytes(args[1])
			if err != nil {
				return err
			}
			return v.read(args[0], func(db *engine.DB) error { return v.show(db, key, file) })
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "write the value into this file")
	return cmd
}

func (v *verbs) show(db *engine.DB, key []byte, file string) error {
	row, ok, err := db.Get(key, engine.MaxVersion)
	switch {
	case err != nil:
		return err
	case !ok || expired(row):
		return fmt.Errorf("key %q: %w", v.Escape(key), v.NotFound)
	case file != "":
		return v.WriteFile(file, func(w io.Writer) error {
			_, err := w.Write(row.Value)
			return err
		})
	case v.JSON():
		return v.PrintJSON(jsonOf(row, false))
	}
	return v.Raw(row.Value)
}

func jsonOf(r engine.Row, keysOnly bool) rowJSON {
	out := rowJSON{Version: strconv.FormatUint(uint64(r.Version), 10), ExpiryMillis: r.ExpiryMillis}
	out.Key, out.KeyBase64 = jsontext.Split(r.Key)
	if !keysOnly {
		out.Value, out.ValueBase64 = jsontext.Split(r.Value)
	}
	return out
}

func (v *verbs) put() *cobra.Command {
	var file string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "put DIR KEY VALUE | put DIR KEY - | put DIR KEY --file FILE",
		Short: "Write a key",
		Long:  "Write a key. The value is an argument, standard input when the argument is -, or a file. It is on the disk on return.",
		Args:  v.Arguments(2, 3, "DIR, KEY and VALUE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := v.bytes(args[1])
			if err != nil {
				return err
			}
			value, err := v.value(cmd, args[2:], file)
			if err != nil {
				return err
			}
			expiry := uint64(0)
			if ttl > 0 {
				expiry = uint64(time.Now().Add(ttl).UnixMilli())
			}
			return v.change(args[0], "written", func(b *engine.Batch) { b.Put(key, value, 0, expiry) })
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "read the value from this file")
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "the key expires after this; 0 is never")
	return cmd
}

// value reads a value, which is bounded by what a row may hold.
func (v *verbs) value(cmd *cobra.Command, args []string, file string) ([]byte, error) {
	from, closeFrom, err := v.Value(cmd.Context(), args, file)
	if err != nil {
		return nil, err
	}
	defer closeFrom()
	b, err := io.ReadAll(io.LimitReader(from, engine.MaxValueBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the value: %w", err)
	}
	if len(args) == 1 && args[0] != "-" {
		return v.bytes(string(b))
	}
	return b, nil
}

func (v *verbs) change(dir, what string, fill func(*engine.Batch)) error {
	err := v.write(dir, func(db *engine.DB) error {
		b := db.NewBatch()
		fill(b)
		return db.Apply(b)
	})
	if err != nil {
		return err
	}
	return v.done(what, dir)
}

func (v *verbs) delete() *cobra.Command {
	return &cobra.Command{
		Use:   "delete DIR KEY",
		Short: "Delete a key, whether it is there or not",
		Args:  v.Arguments(2, 2, "DIR and KEY"),
		RunE: func(_ *cobra.Command, args []string) error {
			key, err := v.bytes(args[1])
			if err != nil {
				return err
			}
			return v.change(args[0], "deleted", func(b *engine.Batch) { b.Delete(key, 0) })
		},
	}
}

// scanFlags are scan's own flags.
type scanFlags struct {
	prefix, start, end string
	limit              uint64
	reverse, keysOnly  bool
}

func (v *verbs) scan() *cobra.Command {
	var f scanFlags
	cmd := &cobra.Command{
		Use:   "scan DIR",
		Short: "List keys and values in order",
		Long: "List keys and values in the order of the keys' bytes, one on a line, with a tab between. Backslashes, what cannot be\n" +
			"printed and what is not UTF-8 are escaped; with --output json that is base64.",
		Args: v.Arguments(1, 1, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := v.bounds(f)
			if err != nil {
				return err
			}
			o.KeysOnly = f.keysOnly
			return v.read(args[0], func(db *engine.DB) error { return v.list(cmd, db, o, f) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.prefix, "prefix", "", "keys that begin with this")
	flags.StringVar(&f.start, "start", "", "this key and what follows it")
	flags.StringVar(&f.end, "end", "", "what comes before this key")
	flags.Uint64Var(&f.limit, "limit", 0, "no more than this many keys; 0 is all")
	flags.BoolVar(&f.reverse, "reverse", false, "from the last to the first")
	flags.BoolVar(&f.keysOnly, "keys-only", false, "without values")
	return cmd
}

func (v *verbs) bounds(f scanFlags) (o engine.IteratorOptions, err error) {
	var ends [3][]byte
	for i, text := range []string{f.prefix, f.start, f.end} {
		if ends[i], err = v.bytes(text); err != nil {
			return o, err
		}
	}
	if f.prefix != "" {
		if f.start != "" || f.end != "" {
			return o, v.Usage("--prefix excludes --start and --end")
		}
		return engine.IteratorOptions{Start: ends[0], End: after(ends[0])}, nil
	}
	o.Start = ends[1]
	if f.end != "" {
		o.End = ends[2]
	}
	return o, nil
}

// after is the first key behind all that begin with a prefix; nil if there is none.
func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

func (v *verbs) list(cmd *cobra.Command, db *engine.DB, o engine.IteratorOptions, f scanFlags) error {
	s := db.Snapshot()
	defer s.Close()
	it := s.NewIterator(o)
	first, next := it.First, it.Next
	if f.reverse {
		first, next = it.Last, it.Prev
	}
	shown := uint64(0)
	for ok := first(); ok && (f.limit == 0 || shown < f.limit); ok = next() {
		if err := cmd.Context().Err(); err != nil {
			_ = it.Close() // the context is why
			return err
		}
		if expired(it.Row()) {
			continue
		}
		shown++
		if err := v.printRow(it.Row(), f.keysOnly); err != nil {
			_ = it.Close() // nobody reads what is printed
			return err
		}
	}
	return it.Close()
}

func (v *verbs) printRow(r engine.Row, keysOnly bool) error {
	switch {
	case v.JSON():
		return v.PrintJSON(jsonOf(r, keysOnly))
	case keysOnly:
		return v.Printf("%s\n", v.Escape(r.Key))
	}
	return v.Printf("%s\t%s\n", v.Escape(r.Key), v.Escape(r.Value))
}
