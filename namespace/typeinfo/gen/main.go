// Command gen writes the data of package typeinfo; see there for the form. It needs the Go toolchain.
package main

import (
	"log"
	"os"

	"farm/namespace/typeinfo/gen/blob"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: gen FILE")
	}
	b, err := blob.Make()
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(os.Args[1], b, 0o644); err != nil {
		log.Fatal(err)
	}
}
