package live

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"

	ns "farm/namespace"
)

// otherEnv makes the test binary a process that runs cells for another.
const otherEnv = "FARM_LIVE_TEST_OTHER"

func TestMain(m *testing.M) {
	if os.Getenv(otherEnv) != "" {
		if err := serveCells(os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// cellAsked is a cell and the namespace to run it in, cellGiven what came of it.
type cellAsked struct {
	Engine string
	Items  ns.Items
	Source string
}

type cellGiven struct {
	JSON, Value json.RawMessage
	Err         string
	Unkept      bool // it failed because something cannot be kept
	Delta       ns.Delta
	After       ns.Items
}

// serveCells runs each cell in a new context restored from the items that come with it.
func serveCells(in io.Reader, out io.Writer) error {
	dec, enc := gob.NewDecoder(in), gob.NewEncoder(out)
	for {
		var q cellAsked
		if err := dec.Decode(&q); err != nil {
			return err
		}
		if err := enc.Encode(runCold(q)); err != nil {
			return err
		}
	}
}

func runCold(q cellAsked) (a cellGiven) {
	c := New(Options{})
	defer c.Close()
	err := c.Restore(q.Items)
	var r ns.Result
	if err == nil {
		r, err = c.Run(context.Background(), ns.Run{Source: q.Source, Engine: q.Engine})
	}
	if err != nil {
		a.Err, a.Unkept = err.Error(), unkept(err)
	}
	a.JSON, a.Value, a.Delta, a.After = r.JSON, r.Value, r.Delta, c.Items()
	return a
}

// others are processes that take turns: no cell runs in the process that made what it finds.
type others struct {
	enc  [2]*gob.Encoder
	dec  [2]*gob.Decoder
	turn int
}

func startOthers(t *testing.T) *others {
	t.Helper()
	o := &others{}
	for i := range o.enc {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), otherEnv+"=1")
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			in.Close()
			_ = cmd.Wait() // it ends with the error that its input has ended
		})
		o.enc[i], o.dec[i] = gob.NewEncoder(in), gob.NewDecoder(out)
	}
	return o
}

func (o *others) run(t *testing.T, engine string, items ns.Items, src string) (a cellGiven) {
	t.Helper()
	o.turn = 1 - o.turn
	if err := o.enc[o.turn].Encode(cellAsked{engine, items, src}); err != nil {
		t.Fatal(err)
	}
	if err := o.dec[o.turn].Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}
