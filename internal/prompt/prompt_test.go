package prompt

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestWants(t *testing.T) {
	for src, want := range map[string]Want{
		"":                        Nothing,
		"x := 1":                  Nothing,
		"x := 1\n\n":              Nothing,
		"f(1)\ng()":               Nothing,
		"// a comment (":          Nothing,
		"x // (":                  Nothing,
		`"("`:                     Nothing,
		"'('":                     Nothing,
		"}":                       Nothing, // wrong, but nothing can follow that mends it
		"x;":                      Nothing,
		"return":                  Nothing,
		"\"not closed":            Nothing, // such a string ends with its line
		"x +":                     Operand,
		"x :=\n":                  Operand,
		"a,":                      Operand,
		"s.":                      Operand,
		"x + // why\n":            Operand,
		"import":                  Operand,
		"func f() {":              Bracket,
		"f(1,":                    Bracket,
		"[]int{\n1,\n":            Bracket,
		"f(`a`, func() {\n}":      Bracket,
		"s := `a":                 Text,
		"f(`(":                    Text,
		"/* a":                    Text,
		"x /* a\n*/":              Nothing,
		"func f() {\n\treturn\n}": Nothing,
	} {
		if got := Wants(src); got != want {
			t.Errorf("%q wants %d, not %d", src, got, want)
		}
	}
}

func TestHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "farm", "history")
	h, err := OpenHistory(path)
	if err != nil || h.Len() != 0 {
		t.Fatal(h.Len(), err)
	}
	for _, line := range []string{"a", "", "  ", "b", "b", "\tc ", strings.Repeat("x", maxHistoryLine+1), "two\nlines"} {
		h.Add(line)
	}
	other, err := OpenHistory(path) // another prompt, at the same time
	if err != nil {
		t.Fatal(err)
	}
	other.Add("d")
	h.Add("e")
	if err := h.Err(); err != nil {
		t.Fatal(err)
	}
	again, err := OpenHistory(path)
	if want := []string{"a", "b", "\tc", "d", "e"}; err != nil || !slices.Equal(again.lines, want) || again.At(0) != "e" || again.At(4) != "a" {
		t.Errorf("%q, %v", again.lines, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if dir, err := os.Stat(filepath.Dir(path)); err != nil || dir.Mode().Perm() != 0o700 {
		t.Errorf("mode of the folder %v, %v", dir.Mode(), err)
	}
}

// However much was typed, and whatever the file holds, history is bounded.
func TestHistoryIsBounded(t *testing.T) {
	for name, line := range map[string]string{"lines": "x\ny\n", "bytes": strings.Repeat("z", 1000) + "\n" + strings.Repeat("y", 1000) + "\n", "one line": strings.Repeat("x", 100)} {
		path := filepath.Join(t.TempDir(), "history")
		if err := os.WriteFile(path, []byte("first\n"+strings.Repeat(line, 20_000)), 0o644); err != nil {
			t.Fatal(err)
		}
		h, err := OpenHistory(path)
		if err != nil {
			t.Fatal(name, err)
		}
		h.Add("last")
		info, err := os.Stat(path)
		if err != nil || h.Len() > maxHistory || info.Size() > maxHistoryFile+maxHistoryLine || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d lines, %d bytes, %v, %v", name, h.Len(), info.Size(), info.Mode(), err)
		}
		if again, err := OpenHistory(path); err != nil || again.At(0) != "last" || again.Len() != h.Len() {
			t.Errorf("%s: read again: %d lines, not %d, %v", name, again.Len(), h.Len(), err)
		}
	}
}

func TestHistoryThatCannotBeKept(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenHistory(dir); err == nil {
		t.Error("a folder is a history")
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := &History{path: filepath.Join(file, "history")}
	h.Add("a")
	if h.Err() == nil || h.Len() != 1 {
		t.Errorf("%d lines, %v", h.Len(), h.Err())
	}
	h, err := OpenHistory("")
	h.Add("a")
	if err != nil || h.Err() != nil || h.At(0) != "a" {
		t.Errorf("kept nowhere: %v, %v", err, h.Err())
	}
}

// The reader below a terminal gives no more than up to a key that ends a line.
func TestKeys(t *testing.T) {
	read := func(in io.Reader) (out []string) {
		k := &keys{in: in}
		b := make([]byte, 256)
		for {
			n, err := k.Read(b)
			if err != nil {
				return out
			}
			if k.last != b[n-1] {
				t.Errorf("last is %q after %q", k.last, b[:n])
			}
			out = append(out, string(b[:n]))
		}
	}
	if got := read(strings.NewReader("ab\rc\x03d\x04e\r\nf\n\r\x1bOHx\x1b[1;5D")); !slices.Equal(got, []string{"ab\r", "c\x03", "d\x04", "e\r\n", "f\n", "\r", "\x1b[Hx\x1b[1;3D"}) {
		t.Errorf("%q", got)
	}
	long := strings.Repeat("long ", 200)
	if got := strings.Join(read(iotest.HalfReader(strings.NewReader(long))), ""); got != long {
		t.Errorf("%q", got)
	}
}

func TestCompletionText(t *testing.T) {
	if got := commonPrefix([]string{"größe", "größer", "gröl"}); got != "grö" {
		t.Errorf("%q", got)
	}
	if got := columns([]string{"a", "bb", "c", "dd", "e"}, 11); got != "a   dd\nbb  e\nc\n" {
		t.Errorf("%q", got)
	}
	if got := columns(make([]string, maxListed+3), 80); !strings.HasSuffix(got, "… and 3 more\n") {
		t.Errorf("%q", got)
	}
	if got := columns([]string{strings.Repeat("x", 50)}, 10); strings.Count(got, "\n") != 1 {
		t.Errorf("%q", got)
	}
	e := &Editor{complete: func(head string) (int, []string) {
		if head == "f(num" {
			return 2, []string{"number"}
		}
		return 0, nil
	}}
	for _, x := range []struct {
		line string
		pos  int
		want string
		at   int
	}{{"f(num)", 5, "f(number)", 8}, {"x", 1, "x", 1}, {"  ", 1, "      ", 5}} {
		if line, at, ok := e.key(x.line, x.pos, '\t'); line != x.want || at != x.at || !ok {
			t.Errorf("%q: %q %d %v", x.line, line, at, ok)
		}
	}
	if _, _, ok := e.key("a", 1, 'b'); ok {
		t.Error("a letter is completed")
	}
}
