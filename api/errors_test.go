package api

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"
)

// codesInSource are the constants of type Code in errors.go.
func codesInSource(t *testing.T) []Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []Code
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		name, ok := spec.Type.(*ast.Ident)
		if !ok || name.Name != "Code" {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, Code(text))
		return true
	})
	return found
}

func TestErrorTableIsComplete(t *testing.T) {
	rows := map[Code]int{}
	for _, r := range Table {
		rows[r.Code]++
		if r.RESP == "" || r.HTTP == 0 || r.GRPC == 0 || r.Next == "" {
			t.Errorf("%s: a protocol or the next step is missing", r.Code)
		}
	}
	all := codesInSource(t)
	if len(all) == 0 {
		t.Fatal("no codes found in errors.go")
	}
	for _, c := range all {
		if rows[c] != 1 {
			t.Errorf("%s has %d rows", c, rows[c])
		}
		delete(rows, c)
	}
	for c := range rows {
		t.Errorf("%s has a row and no constant", c)
	}
}

// A Redis client sees only the first word of an error, so that word must tell whether the write
// may have run.
func TestRedisWordSaysWhetherTheOutcomeIsOpen(t *testing.T) {
	for _, r := range Table {
		if (r.RESP == "UNKNOWN") != (r.Outcome == MayHaveRun) {
			t.Errorf("%s: word %s, outcome %d", r.Code, r.RESP, r.Outcome)
		}
		switch r.RESP {
		case "TRYAGAIN", "CLUSTERDOWN", "LOADING":
			t.Errorf("%s: clients retry %s by themselves", r.Code, r.RESP)
		}
	}
}

func TestErrorsCrossTheWireWithTheirHints(t *testing.T) {
	for _, r := range Table {
		sent := &Error{Code: r.Code, Message: "m", Shard: 7, Leader: "n", Epoch: 3}
		var got *Error
		if !errors.As(FromStatus(ToStatus(fmt.Errorf("wrapped: %w", sent)), true), &got) {
			t.Fatalf("%s did not arrive", r.Code)
		}
		if *got != *sent || !errors.Is(got, &Error{Code: r.Code}) {
			t.Errorf("%s arrived as %+v", r.Code, got)
		}
	}
}

func TestABrokenWriteIsUnknownAndABrokenReadIsNot(t *testing.T) {
	broken := ToStatus(context.DeadlineExceeded)
	if err := FromStatus(broken, true); !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("write: %v", err)
	}
	if err := FromStatus(broken, false); !errors.Is(err, ErrExpired) {
		t.Errorf("read: %v", err)
	}
}

func TestUnknownCodesReadAsInternal(t *testing.T) {
	if Row("FROM_THE_FUTURE").Code != CodeInternal || CodeOf(errors.New("plain")) != CodeInternal || CodeOf(nil) != "" {
		t.Error("a code that this build does not know must be taken for the worst")
	}
}
