module github.com/lightning-db/lightning/tests

go 1.26.0

require github.com/anishathalye/porcupine v1.3.1

replace github.com/lightning-db/lightning => ../
