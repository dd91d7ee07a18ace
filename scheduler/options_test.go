package scheduler

import (
	"errors"
	"reflect"
	"testing"

	"farm/internal/wire"
)

func TestOptionsRoundTrip(t *testing.T) {
	for _, o := range []*Options{{}, {Needs: []string{"handler:resize", "label:gpu=1"}}} {
		b := o.append(nil)
		got, err := readOptions(wire.NewReader(b))
		if err != nil || !reflect.DeepEqual(got, o) {
			t.Errorf("%+v: %+v, %v", o, got, err)
		}
		for i := range b {
			if _, err := readOptions(wire.NewReader(b[:i])); !errors.Is(err, wire.ErrCorrupt) {
				t.Errorf("%+v cut at %d: %v", o, i, err)
			}
		}
	}
	twice := wire.AppendUint(nil, 2)
	for range 2 {
		twice = wire.AppendBytes(wire.AppendUint(twice, optNeeds), appendStrings(nil, []string{"a"}))
	}
	if _, err := readOptions(wire.NewReader(twice)); !errors.Is(err, wire.ErrCorrupt) {
		t.Errorf("an option twice: %v", err)
	}
	var newer *VersionError
	if _, err := readOptions(wire.NewReader([]byte{1, 200, 1, 0})); !errors.As(err, &newer) {
		t.Errorf("an option of a newer farm: %v", err)
	}
}

func TestOptionsInCommandAndRecord(t *testing.T) {
	o := &Options{Needs: []string{"label:a=b"}}
	for _, c := range []Command{&Submit{ID: "t", Kind: Run, Options: o, Body: []byte("x")}, &WorkerUp{Worker: "w", Slots: 1, Has: []string{"label:a=b"}}} {
		r := wire.NewReader(c.AppendTo(nil))
		if got, err := DecodeCommand(r); err != nil || r.Done() != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
	}
	task := &Task{ID: "t", Kind: Run, State: Queued, Options: o, inQueue: -1}
	if got, err := decodeTask(task.append(nil)); err != nil || !reflect.DeepEqual(got.Options, o) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range [][]string{{""}, {"b", "a"}, {"a", "a"}, {string(make([]byte, MaxNeedsBytes+1))}, make([]string, MaxNeeds+1)} {
		if r := (&Options{Needs: bad}).allowed(); r.Code == OK {
			t.Errorf("%q is allowed", bad)
		}
	}
}
