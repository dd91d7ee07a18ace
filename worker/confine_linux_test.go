package worker

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What a child has of its worker's environment, descriptors and rights.
func TestConfinement(t *testing.T) {
	t.Setenv("FARM_SECRET", "1")
	secret, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	inherited, err := unix.Dup(int(secret.Fd())) // as if this process had been given it
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inherited)
	l := start(t, nil)
	l.onReport = settle
	l.say(l.private("a", "pid"))
	pid := string(l.report("a", 1).Outcome.Value)
	read := func(name string) string {
		b, err := os.ReadFile("/proc/" + pid + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	env := strings.Split(strings.TrimRight(read("environ"), "\x00"), "\x00")
	if got := strings.Join(env, " "); got != fmt.Sprintf("%s=%d,%d TZ=UTC GOTRACEBACK=none", childEnv, DefaultMemoryBytes, DefaultStackBytes) {
		t.Errorf("environment: %s", got)
	}
	for _, want := range []string{`Max data size\s+1073741824 `, `Max core file size\s+0 `, `Max open files\s+64 `, `Max file size\s+0 `} {
		if !regexp.MustCompile(want).MatchString(read("limits")) {
			t.Errorf("no %q in %s", want, read("limits"))
		}
	}
	if !strings.Contains(read("status"), "NoNewPrivs:\t1") {
		t.Error("it may gain privileges")
	}
	stat := strings.Fields(read("stat")[strings.LastIndex(read("stat"), ")")+1:])
	if group, session := stat[2], stat[3]; group != pid || session != pid {
		t.Errorf("group %s and session %s of process %s", group, session, pid)
	}
	fds, err := os.ReadDir("/proc/" + pid + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		to, _ := os.Readlink("/proc/" + pid + "/fd/" + fd.Name())
		own := strings.HasPrefix(to, "anon_inode:") || strings.HasPrefix(to, "/sys/fs/cgroup/") // the runtime's
		if n := fd.Name(); !own && n != "0" && n != "1" && n != "2" && n != fmt.Sprint(childFD) {
			t.Errorf("descriptor %s: %s", n, to)
		}
	}
}
