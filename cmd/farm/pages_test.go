package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// What pages tell readers to type: verbs that there are, with flags that they have.
// Pages with commands that run are run by the tests of examples; this reads all of
// them, in blocks and in the text.
func TestCommandsOfPages(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"../../README.md", "../../docs/*.md", "../../examples/*/README.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	commands := (&app{}).cli(nil).Commands
	read := 0
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		shown, said := typed(string(b))
		if filepath.Base(page) == "reference.md" {
			shown = nil // usage lines, and examples that are run
		}
		for _, words := range append(shown, said...) {
			read++
			if why := wrongCommand(commands, words); why != "" {
				t.Errorf("%s: farm %s: %s", page, strings.Join(words, " "), why)
			}
		}
	}
	if read < 150 {
		t.Errorf("only %d commands were found", read)
	}
}

var (
	fenced = regexp.MustCompile("(?ms)^```([a-z]*)[^\n]*\n(.*?)^```$")
	inline = regexp.MustCompile("`(farm [^`]+)`")
)

// typed are the commands of farm on a page: those in its blocks of shell, and those
// that its text mentions. Each is the words after "farm".
func typed(page string) (shown, said [][]string) {
	for _, m := range fenced.FindAllStringSubmatch(page, -1) {
		if m[1] != "" && m[1] != "sh" {
			continue
		}
		for line := range strings.Lines(strings.ReplaceAll(m[2], "\\\n", " ")) {
			shown = append(shown, commandsOf(line)...)
		}
	}
	for _, m := range inline.FindAllStringSubmatch(fenced.ReplaceAllString(page, ""), -1) {
		said = append(said, commandsOf(m[1])...)
	}
	return shown, said
}

// commandsOf are the commands of farm in a line of shell, as far as a reader of shell
// needs to know it: quotes, pipes, lists, substitutions and comments.
func commandsOf(line string) (found [][]string) {
	var words []string
	var word strings.Builder
	inWord := false
	endWord := func() {
		if inWord {
			words = append(words, word.String())
			word.Reset()
			inWord = false
		}
	}
	endCommand := func() {
		endWord()
		if len(words) > 1 && words[0] == "farm" {
			found = append(found, words[1:])
		}
		words = nil
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\'' || c == '"':
			n := strings.IndexByte(line[i+1:], c)
			if n < 0 {
				n = len(line) - i - 1
			}
			word.WriteString(line[i+1 : i+1+n])
			i, inWord = i+1+n, true
		case c == '#' && !inWord:
			endCommand()
			return found
		case c == '<' || c == '>': // what follows is a file
			endCommand()
		case strings.IndexByte(";|&()\n", c) >= 0:
			endCommand()
		case c == ' ' || c == '\t':
			endWord()
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	endCommand()
	return found
}

// wrongCommand says what is wrong with the words after "farm", if anything is. Words
// that stand for something may be left out or be capitals.
func wrongCommand(commands []*cli.Command, words []string) string {
	if words[0] == "help" {
		words = words[1:]
	}
	var verb *cli.Command
	for len(words) > 0 && words[0] != "VERB" {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(words[0]) })
		if i < 0 {
			break
		}
		verb, words, commands = commands[i], words[1:], commands[i].Subcommands
	}
	switch {
	case verb == nil && len(words) > 0 && words[0] != "VERB":
		return "there is no such verb"
	case verb == nil:
		return ""
	case len(commands) > 0 && len(words) > 0 && words[0] != "VERB" && !strings.HasPrefix(words[0], "-"):
		return "there is no such verb under it"
	}
	return wrongFlags(verb, words)
}

// wrongFlags says which word of a verb's line is no flag of it, or comes too late.
func wrongFlags(verb *cli.Command, words []string) string {
	args := false
	for i := 0; i < len(words); i++ {
		w := words[i]
		if len(w) < 2 || w[0] != '-' || w[1] >= '0' && w[1] <= '9' {
			args = true
			continue
		}
		name, _, given := strings.Cut(strings.TrimLeft(w, "-"), "=")
		k := slices.IndexFunc(verb.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
		switch {
		case k < 0:
			return "it has no flag " + w
		case args:
			return w + " comes after the arguments"
		}
		if d, ok := verb.Flags[k].(cli.DocGenerationFlag); ok && d.TakesValue() && !given {
			i++
		}
	}
	return ""
}

func TestCommandsOfALine(t *testing.T) {
	for line, want := range map[string]string{
		"farm ls":                                      "ls",
		"seq 3 | farm map --call F - # farm no":        "map --call F -",
		"farm dev & farm set a b '1; 2' && farm a|cat": "dev / set a b 1; 2 / a",
		"kill $(farm node ls -o \"{{.pid}}\")":         "node ls -o {{.pid}}",
		"x=1 cmd/farm x":                               "",
		"source <(farm completion bash)":               "completion bash",
	} {
		var got []string
		for _, c := range commandsOf(line) {
			got = append(got, strings.Join(c, " "))
		}
		if strings.Join(got, " / ") != want {
			t.Errorf("%s: %q", line, got)
		}
	}
	commands := (&app{}).cli(nil).Commands
	for line, why := range map[string]string{
		"submit --retries 2 x.go": "", "help": "", "help VERB": "", "help task retry": "", "node --data d": "", "task ls --ns a": "",
		"submits": "there is no such verb", "task lst": "there is no such verb under it", "submit --retry 2": "it has no flag --retry",
		"exec c0 --json": "--json comes after the arguments",
	} {
		if got := wrongCommand(commands, strings.Fields(line)); got != why {
			t.Errorf("%s: %q, not %q", line, got, why)
		}
	}
}
