package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/backup"
	"github.com/lightning-db/lightning/cmd/lightning-cli/store"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/engine/inspect"
)

// The exit codes. Scripts depend on them.
const (
	exitOK          = 0
	exitUnexpected  = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitCondition   = 4
	exitUnavailable = 5 // nothing was executed
	exitUnknown     = 6 // a write may or may not have been executed
	exitDenied      = 7 // no credentials, wrong ones, or not allowed
	exitPartly      = 8 // import: some lines were not written
	exitDamaged     = 9 // store, backup: something is damaged
)

// usageError is a mistake on the command line.
type usageError struct{ cause error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func (e usageError) Error() string { return e.cause.Error() }
func (e usageError) Unwrap() error { return e.cause }

// Answers that are no failures of the cluster, but not what was asked for either.
var (
	errNotFound  = errors.New("not found")
	errCondition = errors.New("the condition does not hold; nothing was written")
	errPartly    = errors.New("some lines were not written")
)

func exitCode(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, errNotFound):
		return exitNotFound
	case errors.Is(err, errCondition):
		return exitCondition
	case errors.Is(err, errPartly):
		return exitPartly
	}
	var damaged *backup.DamagedError
	if errors.As(err, &damaged) {
		return exitDamaged
	}
	var e *api.Error
	if !errors.As(err, &e) {
		return exitCodeOfStore(err)
	}
	return exitCodeOf(e.Code)
}

// exitCodeOfStore is for errors of the engine and of the file system.
func exitCodeOfStore(err error) int {
	switch {
	case errors.Is(err, engine.ErrCorrupt), errors.Is(err, engine.ErrUnrepaired):
		return exitDamaged
	case errors.Is(err, engine.ErrNoStore), errors.Is(err, fs.ErrNotExist):
		return exitNotFound
	case errors.Is(err, engine.ErrLocked):
		return exitUnavailable
	case errors.Is(err, store.ErrReplica), errors.Is(err, fs.ErrPermission):
		return exitDenied
	case errors.Is(err, store.ErrUnhealthy):
		return exitCondition
	case errors.Is(err, engine.ErrTooLarge), errors.Is(err, engine.ErrFamilies), errors.Is(err, inspect.ErrUnknown):
		return exitUsage
	}
	return exitUnexpected
}

func exitCodeOf(c api.Code) int {
	switch c {
	case api.CodeInvalid, api.CodeTooLarge, api.CodeCrossShard:
		return exitUsage
	case api.CodeNotInteger, api.CodeNotFloat, api.CodeOverflow:
		return exitCondition
	case api.CodeNotFound:
		return exitNotFound
	case api.CodeUnauthorized, api.CodeDenied:
		return exitDenied
	case api.CodeUnknownOutcome, api.CodeReleased:
		return exitUnknown
	}
	if api.Row(c).Retry {
		return exitUnavailable
	}
	return exitUnexpected
}

// report says on stderr what went wrong and what to do next. command is where cobra got to.
func (a *app) report(command *cobra.Command, err error) {
	if err == nil {
		return
	}
	_, _ = fmt.Fprintf(a.stderr, "lightning-cli: %v\n", err) // nowhere to report that stderr is closed
	var usage usageError
	var e *api.Error
	switch {
	case errors.As(err, &usage):
		_, _ = fmt.Fprintf(a.stderr, "next: %s --help\n", command.CommandPath())
	case errors.As(err, &e):
		_, _ = fmt.Fprintf(a.stderr, "next: %s\n", api.Row(e.Code).Next)
		if exitCodeOf(e.Code) == exitUnavailable && a.dialed != "" {
			_, _ = fmt.Fprintf(a.stderr, "asked: %s (--addr; gRPC ports, 8379 by default; with TLS only by --tls-ca)\n", a.dialed)
		}
	}
}
