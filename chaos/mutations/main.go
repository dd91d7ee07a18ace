// Command mutations breaks farm on purpose, to see that the chaos suite notices.
//
//	go run ./chaos/mutations             lists them
//	go run ./chaos/mutations NAME        builds farm with one, and runs the scenario that must find it
//	go run ./chaos/mutations all         one after the other
//
// The checkout is not touched: the changed files are laid over it by the go command.
// The exit code is 0 when the suite noticed and its report named the promise.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// tries is how many seeds may pass before a mutation counts as not found: some
// faults meet the moment that shows it only sometimes.
const tries = 4

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		for _, m := range mutations {
			fmt.Printf("%-14s %-70s %s must name %q\n", m.name, m.what, m.scenario, m.promise)
		}
		return nil
	}
	var errs []error
	known := false
	for _, m := range mutations {
		if args[0] == m.name || args[0] == "all" {
			known = true
			errs = append(errs, m.try(args[1:]))
		}
	}
	if !known {
		return fmt.Errorf("there is no mutation %q", args[0])
	}
	return errors.Join(errs...)
}

// try builds farm with the mutation and runs the scenario until it fails.
func (m mutation) try(args []string) error {
	dir, err := os.MkdirTemp("", "farm-mutation-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	farm := filepath.Join(dir, "farm")
	if err := m.build(dir, "build", "-o", farm, "./cmd/farm"); err != nil {
		return err
	}
	if m.minutes > 0 {
		args = append([]string{"--minutes", strconv.Itoa(m.minutes)}, args...)
	}
	for seed := 1; seed <= tries; seed++ {
		cmd := exec.Command(farm, append([]string{"chaos", "--scenario", m.scenario, "--seed", strconv.Itoa(seed), "--dir", dir}, args...)...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err == nil {
			fmt.Printf("%s: seed %d did not show it\n", m.name, seed)
			continue
		}
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, "BROKEN") && strings.Contains(line, m.promise) {
				fmt.Printf("%s: found with seed %d: %s", m.name, seed, line)
				return nil
			}
		}
		fmt.Printf("%s: seed %d failed for another reason:\n%s", m.name, seed, out)
	}
	return fmt.Errorf("%s: not found by scenario %s in %d runs", m.name, m.scenario, tries)
}

// build runs the go command with the mutated files laid over the checkout, which
// is the current folder.
func (m mutation) build(dir string, args ...string) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	files, err := m.apply(root)
	if err != nil {
		return err
	}
	replace := map[string]string{}
	for name, content := range files {
		path := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return err
		}
		replace[filepath.Join(root, name)] = path
	}
	overlay := filepath.Join(dir, "overlay.json")
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		err = os.WriteFile(overlay, b, 0o600)
	}
	if err != nil {
		return err
	}
	cmd := exec.Command("go", append([]string{args[0], "-overlay", overlay}, args[1:]...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: go %s: %w\n%s", m.name, args[0], err, out)
	}
	return nil
}

// apply returns the changed files of a checkout.
func (m mutation) apply(root string) (map[string]string, error) {
	files := map[string]string{}
	for _, e := range m.edits {
		if _, ok := files[e.file]; !ok {
			b, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				return nil, err
			}
			files[e.file] = string(b)
		}
		if n := strings.Count(files[e.file], e.old); n != 1 {
			return nil, fmt.Errorf("%s: the text to change occurs %d times in %s:\n%s", m.name, n, e.file, e.old)
		}
		files[e.file] = strings.Replace(files[e.file], e.old, e.new, 1)
	}
	return files, nil
}
