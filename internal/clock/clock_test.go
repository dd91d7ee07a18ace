package clock

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestFollow(t *testing.T) {
	t.Cleanup(func() { offset.Store(0) })
	path := filepath.Join(t.TempDir(), "offset")
	off := func() time.Duration { return time.Duration(Now() - time.Now().UnixNano()).Round(time.Minute) }
	follow(path)
	if off() != 0 {
		t.Error("shifted without a file")
	}
	for _, step := range []struct {
		text string
		want time.Duration
	}{{"1h\n", time.Hour}, {"nonsense", time.Hour}, {"-48h", -48 * time.Hour}, {"0s", 0}} {
		if err := os.WriteFile(path, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if follow(path); off() != step.want {
			t.Errorf("after %q the clock is off by %v", step.text, off())
		}
	}
}
