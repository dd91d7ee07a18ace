package main

import (
	"strings"
	"testing"
	"time"

	"farm/tasks"
)

func TestQueueCommands(t *testing.T) {
	f := newFakeFarm(t)
	run := func(args ...string) ended { t.Helper(); return farmCommand(t.Context(), t, f, "", args...) }

	run("queue", "ls").check(t, 0, "default\topen\t0\t0\t0\t-\t0\tnone\tnone\t0\n", "")
	run("queue", "set", "--concurrency", "4", "--rate", "10/s", "--burst", "3", "mail").check(t, 0, "", "")
	run("queue", "set", "--key-rate", "100/m", "--key-concurrency", "1", "mail").check(t, 0, "", "")
	run("queue", "pause", "mail", "default").check(t, 0, "", "")
	run("queue", "resume", "default").check(t, 0, "", "")
	run("queue", "ls").check(t, 0, "default\topen\t0\t0\t0\t-\t0\tnone\tnone\t0\nmail\tpaused\t0\t0\t0\t-\t0\t4\t10/s\t0\n", "")
	run("queue", "show", "mail").check(t, 0, `queue            mail
state            paused
waiting          0
running          0
delayed          0
parked           -
limited          0
concurrency      4
rate             10/s, 3 at once
key concurrency  1
key rate         100/m
keys             0
`, "")
	run("queue", "set", "--json", "--rate", "none", "--key-concurrency", "0", "mail").check(t, 0,
		`{"name":"mail","paused":true,"waiting":0,"running":0,"delayed":0,"limited":0,"concurrency":4,"rate":"none","key_concurrency":0,"key_rate":"100/m","keys":0}`+"\n", "")
}

func TestSubmitToQueue(t *testing.T) {
	f := newFakeFarm(t)
	run := func(args ...string) ended {
		t.Helper()
		return farmCommand(t.Context(), t, f, "", append([]string{"submit"}, args...)...)
	}
	run("--id", "a", "--detach", "--queue", "mail", "--key", "example.org", "--label", "gpu=1", "--label", "b=2", "--unique", "u", "--unique-while", "queued", "-c", "1 // value 1").check(t, 0, "a\n", "")
	s := f.submitted()[0]
	if s.Queue != "mail" || s.Key != "example.org" || strings.Join(s.Needs, " ") != "label:b=2 label:gpu=1" || s.Unique.Key != "u" || s.Unique.While != "queued" || s.Unique.Period != 0 {
		t.Errorf("%v", s)
	}
	// The second one is the first, and is followed; its end is that of the first.
	run("--id", "b", "--detach", "--unique", "u", "-c", "2 // value 2").check(t, 0, "a\n", "farm: duplicate of task a, which has the unique key\n")
	run("--id", "c", "--detach", "--json", "--unique", "u", "--unique-while", "90s", "-c", "2").check(t, 0, "{\"id\":\"a\",\"duplicate\":true}\n", "farm: duplicate of task a, which has the unique key\n")
	run("--id", "d", "--unique", "u", "-c", "2 // value 2").check(t, 0, "1\n", "farm: duplicate of task a, which has the unique key\n")
	all := f.submitted()
	if u := all[1].Unique; u.While != "running" {
		t.Errorf("%v", u)
	}
	if u := all[2].Unique; u.While != "" || time.Duration(u.Period) != 90*time.Second {
		t.Errorf("%v", u)
	}
	if r := farmCommand(t.Context(), t, f, "", "task", "show", "a"); !strings.Contains(r.out, "queue      mail\n") || !strings.Contains(r.out, "labels     b=2,gpu=1\n") {
		t.Errorf("%+v", r)
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]tasks.Rate{"10/s": {Count: 10, Per: time.Second}, "100/m": {Count: 100, Per: time.Minute}, "5/h": {Count: 5, Per: time.Hour},
		"1/1m30s": {Count: 1, Per: 90 * time.Second}, "none": {}} {
		r, err := tasks.ParseRate(text)
		if err != nil || r != want || r.String() != text {
			t.Errorf("%s: %+v %q, %v", text, r, r.String(), err)
		}
	}
	for _, text := range []string{"", "10", "s", "0/s", "-1/s", "10/", "10/x", "1/0s", "1/-1s"} {
		if r, err := tasks.ParseRate(text); err == nil {
			t.Errorf("%q is %+v", text, r)
		}
	}
}
