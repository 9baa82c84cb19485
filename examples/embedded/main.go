package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/lightning-db/lightning/engine"
)

func main() {
	dir := flag.String("dir", "words", "directory of the counts")
	top := flag.Int("top", 10, "how many words to show")
	flag.Parse()
	if err := run(context.Background(), *dir, *top, flag.Args(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "embedded:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, top int, words []string, out io.Writer) error {
	db, err := engine.Open(dir, engine.LowMemory.Options())
	if err != nil {
		return err
	}
	err = count(ctx, db, words)
	if err == nil {
		err = show(db, top, out)
	}
	return errors.Join(err, db.Close())
}

// count adds all the words or none, whoever else counts at the same time.
func count(ctx context.Context, db *engine.DB, words []string) error {
	return db.Update(ctx, engine.TxOptions{}, func(tx *engine.Tx) error {
		for _, word := range words {
			row, found, err := tx.Get([]byte(word))
			if err != nil {
				return err
			}
			n := 0
			if found {
				if n, err = strconv.Atoi(string(row.Value)); err != nil {
					return fmt.Errorf("count of %q: %w", word, err)
				}
			}
			if err := tx.Put([]byte(word), strconv.AppendInt(nil, int64(n+1), 10), 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// show prints the most frequent words.
func show(db *engine.DB, top int, out io.Writer) error {
	type entry struct {
		word  string
		count int
	}
	var all []entry
	s := db.Snapshot()
	defer s.Close()
	it := s.NewIterator(engine.IteratorOptions{})
	for ok := it.First(); ok; ok = it.Next() {
		n, err := strconv.Atoi(string(it.Row().Value))
		if err != nil {
			return errors.Join(fmt.Errorf("count of %q: %w", it.Row().Key, err), it.Close())
		}
		all = append(all, entry{string(it.Row().Key), n})
	}
	if err := it.Close(); err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b entry) int { return cmp.Compare(b.count, a.count) })
	for _, e := range all[:min(top, len(all))] {
		if _, err := fmt.Fprintf(out, "%6d %s\n", e.count, e.word); err != nil {
			return err
		}
	}
	return nil
}
