package value

import (
	"encoding/json"
	"reflect"
	"testing"
)

type (
	Base struct {
		ID   int `json:"id"`
		Note string
	}
	Middle struct {
		Base
		Size float64 `json:"size,omitempty"`
	}
	Outer struct {
		Middle
		Name string `json:"full_name"`
		Skip int    `json:"-"`
	}
	Clash struct {
		Base
		Note int // hides that of Base: the two are told apart by leaving Base in
	}
	Renamed struct {
		Base `json:"base"`
		A    int `json:"B"`
		B    int
	}
	Pointed struct {
		*Base
		X int
	}
)

// What a struct looks like in JSON is what encoding/json makes of it, so that a
// program reads it into a type of its own with the same tags; and it can be read back.
func TestNamesInJSON(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
		same bool // as encoding/json
	}{
		{Base{1, "n"}, `{"id":1,"Note":"n"}`, true},
		{Middle{Base{1, "n"}, 2.5}, `{"id":1,"Note":"n","size":2.5}`, true},
		{Outer{Middle{Base{1, "n"}, 2.5}, "x", 7}, `{"id":1,"Note":"n","size":2.5,"full_name":"x","Skip":7}`, false}, // nothing is hidden
		{[]Middle{{Base{1, ""}, 1}, {Base{2, ""}, 2}}, `[{"id":1,"Note":"","size":1},{"id":2,"Note":"","size":2}]`, true},
		{Clash{Base{1, "n"}, 2}, `{"Base":{"id":1,"Note":"n"},"Note":2}`, false},
		{Renamed{Base{1, "n"}, 2, 3}, `{"base":{"id":1,"Note":"n"},"A":2,"B":3}`, false},
		{Pointed{&Base{1, "n"}, 2}, `{"Base":{"id":1,"Note":"n"},"X":2}`, false},
		{struct{ Middle }{}, `{"id":0,"Note":"","size":0}`, false},
		{struct{ E struct{} }{}, `{"E":{}}`, true},
	} {
		data := mustEncode(t, root("v", ptrTo(c.v)))[0].Data
		j, err := JSON(data, 0, ViewLimits{})
		if err != nil || string(j) != c.want {
			t.Errorf("%T: %s, %v, not %s", c.v, j, err, c.want)
			continue
		}
		if std, _ := json.Marshal(c.v); c.same && string(std) != c.want {
			t.Errorf("encoding/json has %s", std)
		}
		live := reflect.New(reflect.TypeOf(c.v)).Elem()
		if err := DecodeJSON(static.of(live.Type()), live, j); err != nil || !reflect.DeepEqual(live.Interface(), c.v) {
			t.Errorf("%s is read as %+v, %v", j, live.Interface(), err)
		}
	}
	for _, c := range []struct {
		v    any
		json string
		read bool
	}{
		{Middle{}, `{"Base":{"id":1},"size":2}`, true}, // also as it is put together
		{Middle{}, `{"id":1,"Base":{}}`, false}, {Middle{}, `{"id":1,"ID":2}`, false}, {Outer{}, `{"Nothing":1}`, false},
		{struct {
			Middle
			Base
		}{}, `{"Note":"whose"}`, false},
		{struct {
			Middle
			Renamed
		}{}, `{"Note":"whose"}`, false},
	} {
		live := reflect.New(reflect.TypeOf(c.v)).Elem()
		if err := DecodeJSON(static.of(live.Type()), live, []byte(c.json)); (err == nil) != c.read {
			t.Errorf("%s for a %T: %v, %+v", c.json, c.v, err, live)
		}
	}
}

// A view that is full says so once, also inside an embedded struct.
func TestNamesInAFullView(t *testing.T) {
	v := Outer{Middle{Base{1, "a longer text than there is room for"}, 2.5}, "x", 7}
	j, err := JSON(mustEncode(t, root("v", ptrTo(v)))[0].Data, 0, ViewLimits{MaxBytes: 20})
	if err != nil || !json.Valid(j) {
		t.Errorf("%s, %v", j, err)
	}
}
