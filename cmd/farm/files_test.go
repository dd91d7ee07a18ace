package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"farm/tasks"
)

func TestFilesOnARealFarm(t *testing.T) {
	dir := t.TempDir()
	startFarm(t, dir)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("data.csv", "1,2\n3,4\n")
	write("words.txt", "a b c")
	write("prog.go", `package main

import ("farm"; "fmt"; "strings")

func main() {
	b, err := farm.ReadFile("data.csv")
	fmt.Println(farm.Files(), strings.Count(string(b), "\n"), err)
}`)
	runProcess(t, dir, "", "submit", "--file", "data.csv", "--file", "w=words.txt", "prog.go").check(t, 0, "[data.csv w] 2 <nil>\n", "")
	write("map.go", `import ("farm"; "strings")
func Word(i int) (string, error) {
	b, err := farm.ReadFile("words.txt")
	return strings.Fields(string(b))[i], err
}`)
	runProcess(t, dir, "2\n0\n", "map", "--call", "Word", "--file", "words.txt", "map.go").check(t, 0, "\"c\"\n\"a\"\n", "")

	write("most", strings.Repeat("x", tasks.MaxFiles-len("most")))
	runProcess(t, dir, "", "submit", "--file", "most", "-c", `import "farm"; b, _ := farm.ReadFile("most"); len(b)`).check(t, 0, "786428\n", "")
	write("toomuch", strings.Repeat("x", tasks.MaxFiles+1))
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{exitRefused, "at most 786432 bytes", []string{"--file", "toomuch"}},
		{exitRefused, "at most 786432 bytes", []string{"--file", "data.csv", "--file", "most"}},
		{exitUsage, "no such file", []string{"--file", "nothing"}},
		{exitUsage, "is a directory", []string{"--file", "."}},
		{exitUsage, `two files are called "data.csv"`, []string{"--file", "data.csv", "--file", "./data.csv"}},
		{exitUsage, "is not FILE or NAME=FILE", []string{"--file", "=data.csv"}},
	} {
		r := runProcess(t, dir, "", append(append([]string{"submit"}, c.args...), "-c", "1")...)
		if r.code != c.code || !strings.Contains(r.err, c.says) {
			t.Errorf("%v: %+v, want code %d and %q", c.args, r, c.code, c.says)
		}
	}
}
