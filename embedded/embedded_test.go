package embedded_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"farm/embedded"
	"farm/tasks"
)

// noMain makes the test binary a program that forgot Main.
const noMain = "FARM_EMBEDDED_TEST_NO_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(noMain) != "" {
		_, err := embedded.Open(context.Background(), os.Args[1], embedded.Options{})
		os.Stdout.WriteString(err.Error())
		return
	}
	embedded.Main()
	goleak.VerifyTestMain(m)
}

func open(t *testing.T, dir string, o embedded.Options) *embedded.Farm {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	f, err := embedded.Open(ctx, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// What a farm was told is there when its folder is opened again, with one replica
// and with three; nothing of it is left when it is closed.
func TestOpenedAgain(t *testing.T) {
	for _, n := range []int{1, 3} {
		dir := t.TempDir()
		for i := 1; i <= 2; i++ {
			f := open(t, dir, embedded.Options{Replicas: n, Slots: 1})
			info, err := f.Client().Run(t.Context(), tasks.Task{Namespace: "ns", Source: "farmVisits := 1"})
			if i > 1 {
				info, err = f.Client().Run(t.Context(), tasks.Task{Namespace: "ns", Source: "farmVisits++; farmVisits"})
			}
			if err != nil {
				t.Fatal(err)
			}
			if i > 1 && string(info.Value) != "2" {
				t.Errorf("%d replicas: %s visits", n, info.Value)
			}
			s, err := f.Client().Status(t.Context())
			if err != nil || len(s.Nodes) != n || len(f.Addrs()) != n {
				t.Errorf("%d replicas: %+v, %v", n, s, err)
			}
			if err := f.Close(); err != nil || f.Close() != nil {
				t.Errorf("close: %v", err)
			}
			if _, err := f.Client().Status(t.Context()); !errors.Is(err, tasks.ErrClosed) {
				t.Errorf("a call after Close: %v", err)
			}
		}
		if _, err := embedded.Open(t.Context(), dir, embedded.Options{Replicas: 4 - n}); !errors.Is(err, embedded.ErrReplicas) {
			t.Errorf("another number of replicas: %v", err)
		}
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, embedded.Options{})
	if _, err := embedded.Open(t.Context(), dir, embedded.Options{}); !errors.Is(err, embedded.ErrInUse) {
		t.Errorf("a folder in use: %v", err)
	}
	if _, err := embedded.Open(t.Context(), t.TempDir(), embedded.Options{Replicas: 2}); !errors.Is(err, embedded.ErrReplicas) {
		t.Errorf("two replicas: %v", err)
	}
	cmd := exec.Command(os.Args[0], t.TempDir())
	cmd.Env = append(os.Environ(), noMain+"=1")
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), embedded.ErrMain.Error()) {
		t.Errorf("without Main: %q, %v", out, err)
	}
}

// A cell that has to be killed is in a child, not in the program that the farm is in.
func TestCellsRunElsewhere(t *testing.T) {
	f := open(t, t.TempDir(), embedded.Options{})
	_, err := f.Client().Run(t.Context(), tasks.Task{Source: "for {\n}", Timeout: 100 * time.Millisecond})
	var failed *tasks.TaskError
	if !errors.As(err, &failed) || failed.Kind != "timeout" {
		t.Errorf("an endless loop: %v", err)
	}
	var got []string
	for j, err := range f.Client().Map(tasks.Map{Source: "func sq(n int) int { return n*n }", Call: "sq"}, tasks.Values([]int{1, 2, 3})).Results(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(j))
	}
	if b, _ := json.Marshal(got); string(b) != `["1","4","9"]` {
		t.Errorf("%s", b)
	}
}

func BenchmarkOpenClose(b *testing.B) {
	for b.Loop() {
		f, err := embedded.Open(b.Context(), b.TempDir(), embedded.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
