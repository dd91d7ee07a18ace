package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"farm/tasks"
)

func fileFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "file", Usage: "a `FILE` the code can read with farm.ReadFile, by its last name, or NAME=FILE; may be repeated"}
}

// readFiles reads what --file flags name. Nothing past the limit of all together is
// read.
func readFiles(verb string, flags []string) (map[string][]byte, error) {
	if len(flags) == 0 {
		return nil, nil
	}
	files, total := map[string][]byte{}, 0
	for _, f := range flags {
		name, path, named := strings.Cut(f, "=")
		if !named {
			name, path = filepath.Base(f), f
		}
		if name == "" || path == "" {
			return nil, usage("%s: --file %q is not FILE or NAME=FILE", verb, f)
		}
		if _, twice := files[name]; twice {
			return nil, usage("%s: two files are called %q: use --file NAME=FILE", verb, name)
		}
		b, err := readAtMost(path, tasks.MaxFiles-total)
		if err != nil {
			return nil, err
		}
		files[name] = b
		total += len(b)
	}
	return files, nil
}

func readAtMost(path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usage("%v", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, usage("read %s: %v", path, err)
	}
	if len(b) > limit {
		return nil, fmt.Errorf("%w: files of one task have at most %d bytes, with %s they have more; larger data goes into a namespace (farm set) or into the inputs of farm map", tasks.ErrLimit, tasks.MaxFiles, path)
	}
	return b, nil
}
