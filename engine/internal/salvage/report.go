package salvage

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/lightning-db/lightning/internal/vfs"
)

const (
	// WorkName is the directory, inside that of the store, in which a repair makes its files.
	WorkName = "repair"
	// LostName is the directory, inside that of the store, to which it moves what is replaced.
	LostName = "lost"

	reportName = "report.txt"
)

// exposedLimit bounds the keys in a report; the file has all of them.
const exposedLimit = 1000

// Report is what a repair found and did.
type Report struct {
	// Changed says that the store is another one than before. If not, it was whole.
	Changed bool
	// Resumed says that a repair which had been cut short was finished first. What that one lost is in its file in Lost.
	Resumed bool
	// ManifestRebuilt says that there was no manifest, or a damaged one. Levels, horizon and position are lost with it, and reads
	// at older versions are refused.
	ManifestRebuilt bool
	// Damage has one entry for each damaged file.
	Damage []Damage
	// Tables and Rows are how many were read from damaged tables, or from all without a manifest, and written anew.
	Tables int
	Rows   uint64
	// Batches were taken from a damaged log.
	Batches int
	// AnyKey says that something is lost of which nobody knows the keys: any value may be an old one, or deleted.
	AnyKey bool
	// TornFile and TornOffset are where a log whose manifest is lost, or that is damaged elsewhere, ends in the middle of a record. A
	// crash leaves that, and then nothing that was acknowledged is lost; nothing tells it from damage of the last record.
	TornFile   string
	TornOffset int64
	// ExposedCount is how many keys have a value that may be an old one or a deleted one, because the row that hid it may be
	// lost. Exposed has the first thousand, ReportFile all.
	ExposedCount uint64
	Exposed      [][]byte
	// Families are the names that the repair gave to column families whose own are lost with their entries: "lost-" and the id with which
	// the keys of their rows begin. One of them may have been dropped. Their options are lost, too.
	Families []string
	// Moved are the files that are in the directory lost now; it can be removed when nobody wants to look at them.
	Moved      []string
	ReportFile string // in the directory of the store; empty if nothing was changed
}

// Damage is one file that is not as it was written.
type Damage struct {
	File string
	Err  error // a CorruptionError, which names the offset, or what the disk said
	// Lost says that nothing of the file could be kept. Otherwise what lay between Start and End, both included, is lost; nil
	// for no bound. Without such keys nothing is.
	Lost       bool
	Hole       bool
	Start, End []byte
	// FirstBatch to LastBatch are lost, if they are not zero.
	FirstBatch, LastBatch uint64
}

// expose adds a key to the list.
func (r *Report) expose(key []byte) {
	r.ExposedCount++
	if len(r.Exposed) < exposedLimit {
		r.Exposed = append(r.Exposed, bytes.Clone(key))
	}
}

// text tells of one damaged file.
func (d *Damage) text() string {
	text := fmt.Sprintf("damaged: %v\n", d.Err)
	switch {
	case d.Lost:
		text += fmt.Sprintf("lost: all of %s\n", d.File)
	case d.Hole:
		text += fmt.Sprintf("lost: keys from %q to %q in %s\n", d.Start, d.End, d.File)
	}
	if d.FirstBatch != 0 {
		text += fmt.Sprintf("lost: batches %d to %d\n", d.FirstBatch, d.LastBatch)
	}
	return text
}

// list is the file that has all that is lost, while it is written.
type list struct {
	file   vfs.File
	buffer []byte
}

// newList begins the file with what is known by then.
func (r *repair) newList() (*list, error) {
	f, err := r.FS.Create(r.work(reportName))
	if err != nil {
		return nil, err
	}
	l := &list{file: f}
	for i := range r.report.Damage {
		l.buffer = append(l.buffer, r.report.Damage[i].text()...)
	}
	if r.report.TornFile != "" {
		l.buffer = fmt.Appendf(l.buffer, "the log ends in the middle of a record: %s at offset %d\n", r.report.TornFile, r.report.TornOffset)
	}
	for _, name := range r.report.Families {
		l.buffer = fmt.Appendf(l.buffer, "the name of a column family is lost: it is %s now\n", name)
	}
	if r.report.AnyKey {
		l.buffer = append(l.buffer, "of some of what is lost nobody knows the keys: any value may be old or deleted\n"...)
	}
	return l, nil
}

// expose adds a key.
func (l *list) expose(key []byte) error {
	const enough = 64 << 10
	l.buffer = fmt.Appendf(l.buffer, "may be old or deleted: %q\n", key)
	if len(l.buffer) < enough {
		return nil
	}
	return l.flush()
}

func (l *list) flush() error {
	_, err := l.file.Write(l.buffer)
	l.buffer = l.buffer[:0]
	return err
}

// end completes the file; after an error it goes with the directory.
func (l *list) end(err error) error {
	if err == nil {
		err = l.flush()
	}
	if err == nil {
		err = l.file.Sync()
	}
	return errors.Join(err, l.file.Close())
}
