package table

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/vfs"
)

// corpora are rows of real and made data for BenchmarkCompression, each about 8 MiB. What the machine does not have is left out.
func corpora(b *testing.B) map[string][]record.Row {
	all := map[string][]record.Row{
		"json": documents(), "random": rowsOf(random(8<<20), 1000), "bench": benchRows(70_000),
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Fatal(err)
	}
	var source bytes.Buffer
	for _, dir := range []string{"net", "go", "cmd/compile/internal/ssa"} {
		filepath.WalkDir(filepath.Join(strings.TrimSpace(string(root)), "src", dir), func(path string, _ os.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && source.Len() < 8<<20 {
				text, _ := os.ReadFile(path)
				source.Write(text)
			}
			return nil
		})
	}
	if source.Len() > 1<<20 {
		all["go-source"] = rowsOf(source.Bytes(), 1000)
	}
	lists, _ := filepath.Glob("/var/lib/dpkg/status")
	packages, _ := filepath.Glob("/var/lib/apt/lists/*_Packages")
	for _, list := range append(packages, lists...) {
		text, err := os.ReadFile(list)
		if err == nil && len(text) > 100<<10 {
			all["packages"] = paragraphs(text[:min(len(text), 8<<20)])
			break
		}
	}
	return all
}

func random(n int) []byte {
	r := rand.New(rand.NewPCG(1, 1))
	text := make([]byte, n)
	for i := range text {
		text[i] = byte(r.Uint32())
	}
	return text
}

// rowsOf cuts text into values of so many bytes.
func rowsOf(text []byte, size int) (rows []record.Row) {
	for n := 0; len(text) > 0; n++ {
		value := text[:min(size, len(text))]
		text = text[len(value):]
		rows = append(rows, benchRow(fmt.Appendf(nil, "file/%08d", n), value, n))
	}
	return rows
}

func paragraphs(text []byte) (rows []record.Row) {
	for n, p := range bytes.Split(text, []byte("\n\n")) {
		rows = append(rows, benchRow(fmt.Appendf(nil, "package/%06d", n), p, n))
	}
	return rows
}

func benchRow(key, value []byte, n int) record.Row {
	return record.Row{Key: record.Key{User: key, Version: 1 + uint64(n)/100, Sequence: 1 + uint64(n)}, Kind: record.Put, Value: value}
}

// documents are customers' orders as JSON, of about 400 bytes.
func documents() (rows []record.Row) {
	r := rand.New(rand.NewPCG(2, 2))
	names := []string{"Ada", "Grace", "Edsger", "Barbara", "Donald", "Leslie", "Frances", "Niklaus"}
	cities := []string{"Lisbon", "Nairobi", "Osaka", "Quito", "Riga", "Toronto"}
	for n := range 20_000 {
		var items []string
		for range 1 + r.IntN(4) {
			items = append(items, fmt.Sprintf(`{"sku":"SKU-%06d","count":%d,"price":%d.%02d}`, r.IntN(5000), 1+r.IntN(9), r.IntN(500), r.IntN(100)))
		}
		rows = append(rows, benchRow(fmt.Appendf(nil, "customer/%08d/order/%04d", n/3, n%3), fmt.Appendf(nil,
			`{"id":"%016x","customer":{"name":"%s","email":"%s%d@example.com","city":"%s"},"created":"2026-%02d-%02dT%02d:%02d:%02dZ","status":"%s","items":[%s],"paid":%t}`,
			r.Uint64(), names[r.IntN(8)], strings.ToLower(names[r.IntN(8)]), r.IntN(10_000), cities[r.IntN(6)], 1+r.IntN(12), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60),
			[]string{"new", "paid", "sent", "returned"}[r.IntN(4)], strings.Join(items, ","), r.IntN(2) == 0), n))
	}
	return rows
}

// BenchmarkCompression writes tables of several kinds of data, and reads them. The table in decision 0021 is made by it.
func BenchmarkCompression(b *testing.B) {
	for data, rows := range corpora(b) {
		raw := 0
		for i := range rows {
			raw += len(rows[i].User) + len(rows[i].Value)
		}
		for name, mode := range map[string]Compression{"1-none": None, "2-s2": S2, "3-dense": Dense, "4-zstd": Zstd} {
			o := Options{BlockBytes: 8 << 10, Compression: mode}
			b.Run(fmt.Sprintf("data=%s/%s/write", data, name), func(b *testing.B) {
				b.SetBytes(int64(raw))
				var size int64
				for b.Loop() {
					fs := vfs.NewMem()
					writeTableWith(b, fs, "t", 7, rows, o)
					f, _ := fs.Open("t")
					size, _ = f.Size()
				}
				b.ReportMetric(float64(size)/float64(raw), "ratio")
			})
			b.Run(fmt.Sprintf("data=%s/%s/read", data, name), func(b *testing.B) {
				fs := vfs.NewMem()
				writeTableWith(b, fs, "t", 7, rows, o)
				table, err := openTable(fs, "t", 7, nil)
				if err != nil {
					b.Fatal(err)
				}
				defer table.Close()
				b.SetBytes(int64(raw))
				c := table.NewCursor(false)
				for b.Loop() {
					for r := c.Seek(nil, record.Forward); r != nil; r = c.Step() {
					}
				}
			})
		}
	}
}
