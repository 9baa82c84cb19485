//go:build !cgo

package main

import "errors"

var lmdbEngine = &engine{name: "lmdb", kind: "lmdb", settings: "not measured: it needs cgo", only: []string{}, open: func(string, config) (store, error) {
	return nil, errors.New("lmdb needs cgo")
}}
