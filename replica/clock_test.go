package replica

import (
	"testing"
	"time"

	"farm/internal/clock"
)

func TestStampsNeverStandStill(t *testing.T) {
	var s stamps
	first := s.now()
	if d := time.Duration(clock.Now() - first).Abs(); d > time.Second {
		t.Fatalf("the first stamp is off by %v", d)
	}
	ahead := first + int64(time.Hour) // as the last leader's clock, or this one's before it jumped back
	s.saw(ahead)
	one := s.now()
	if one < ahead {
		t.Fatalf("the stamps ran back by %v", time.Duration(ahead-one))
	}
	eventually(t, "the stamps go on", func() bool { return s.now() >= one+int64(20*time.Millisecond) })
	if d := time.Duration(s.now() - ahead); d > time.Minute {
		t.Errorf("the stamps ran ahead by %v", d)
	}
	s.saw(first) // of an older entry
	if s.now() < ahead {
		t.Error("the stamps ran back")
	}
}

func TestFolderIsFreeSoon(t *testing.T) {
	dir := t.TempDir()
	f, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, func() { f.Close() }) // what a killed node leaves behind ends by itself
	g, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	g.Close()
}
