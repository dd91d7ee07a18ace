// Command gen writes the data of package typeinfo; see there for the form. It needs the Go toolchain.
package main

import (
	"log"
	"os"

	"farm/namespace/typeinfo/gen/blob"
	"farm/namespace/typeinfo/packages"
)

func main() {
	for file, list := range map[string][]string{"std.bin": packages.Allowed, "gonum.bin": packages.Gonum} {
		b, err := blob.Make(list)
		if err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
