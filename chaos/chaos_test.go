package chaos

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"farm/tasks"
)

var (
	// farmBinary is the farm command, built once for all tests.
	farmBinary string

	seed    = flag.Uint64("chaos.seed", 0, "seed of the scenarios; 0: another each time")
	engine  = flag.String("chaos.engine", "", "yaegi or ssa; empty: by turns")
	store   = flag.String("chaos.log-store", "", "wal or boltdb; empty: by turns")
	rewrite = flag.Bool("chaos.write-fixture", false, "write testdata anew: only for a new format")
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "farm-chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	farmBinary = filepath.Join(dir, "farm")
	if out, err := exec.Command("go", "build", "-o", farmBinary, "farm/cmd/farm").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// slow are the scenarios that take much longer than the others.
var slow = []string{"oldest", "snapshots"}

// Every scenario, each of its faults once. The log stores and the engines take turns, so
// that four runs see all, and each sees every one of them.
func TestScenarios(t *testing.T) {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano()) % 1_000_000
	}
	t.Logf("seed %d: go test ./chaos -run Scenarios -chaos.seed %d", s, s)
	all := Scenarios()
	// What takes longest comes first, so that it is not waited for in the end.
	slices.SortStableFunc(all, func(a, b Scenario) int {
		return slices.Index(slow, b.Name) - slices.Index(slow, a.Name)
	})
	for i, sc := range all {
		if sc.Name == "storm" || sc.Name == "failover" {
			continue // their faults are those of the others
		}
		t.Run(sc.Name, func(t *testing.T) {
			t.Parallel() // they wait for most of the time
			log := *store
			if log == "" {
				log = []string{"wal", "boltdb"}[(uint64(i)+s)%2]
			}
			runs := *engine
			if runs == "" {
				runs = []string{"yaegi", "ssa"}[(uint64(i)/2+s/2)%2]
			}
			report, err := sc.Run(t.Context(), Options{Binary: farmBinary, Seed: s, LogStore: log, Engine: runs, Talk: t.Logf})
			if err != nil {
				t.Error(err)
			}
			for _, v := range report.Violations {
				t.Errorf("%s: %s", v.Promise, v.What)
			}
			if t.Failed() {
				t.Logf("kept in %s", report.Folder)
			}
		})
	}
}

// Every fault is in a scenario, and every scenario has faults there are.
func TestFaultsAreUsed(t *testing.T) {
	used := map[string]bool{}
	for _, s := range Scenarios() {
		for _, f := range s.Faults {
			used[f] = true
			if _, ok := faults[f]; !ok {
				t.Errorf("scenario %s: there is no fault %s", s.Name, f)
			}
		}
	}
	for f := range faults {
		if !used[f] {
			t.Errorf("fault %s is in no scenario", f)
		}
	}
}

// TestWriteFixture writes folders of today's format, when it is told to.
func TestWriteFixture(t *testing.T) {
	if !*rewrite {
		t.Skip("writes testdata, with -chaos.write-fixture")
	}
	for _, log := range []string{"wal", "boltdb"} {
		c, err := startCluster(t.Context(), clusterOptions{dir: t.TempDir(), binary: farmBinary, logStore: log, nodes: 1})
		if err != nil {
			t.Fatal(err)
		}
		cl, err := c.dial(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cl.Namespace(fixtureSpace).Exec(t.Context(), "n := 0\nfunc twice(x int) int { return 2 * x }"); err != nil {
			t.Fatal(err)
		}
		for i := range fixtureTasks {
			task := tasks.Task{ID: fmt.Sprintf("kept-task-%d", i), Namespace: fixtureSpace, Source: "n++\nn"}
			if _, err := cl.Run(t.Context(), task); err != nil {
				t.Fatal(err)
			}
		}
		cl.Close()
		if err := c.stop(); err != nil {
			t.Fatal(err)
		}
		pack(t, "testdata/format-1-"+log+".tar.gz", c.nodes[0].dir)
	}
}

func pack(t *testing.T, to, dir string) {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "LOCK") || strings.HasSuffix(path, "lock") {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = z.Close()
	}
	if err == nil {
		err = os.WriteFile(to, b.Bytes(), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
