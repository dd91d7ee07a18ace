package label

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestLabels(t *testing.T) {
	got, err := Parse([]string{"gpu=1", "zone=eu/west-1", "k=a=b"})
	want := map[string]string{"gpu": "1", "zone": "eu/west-1", "k": "a=b"}
	if err != nil || !maps.Equal(got, want) {
		t.Fatalf("%v, %v", got, err)
	}
	things := Things(got)
	if !slices.Equal(things, []string{"label:gpu=1", "label:k=a=b", "label:zone=eu/west-1"}) {
		t.Errorf("%q", things)
	}
	labels, handlers := Split(append([]string{"handler:resize"}, things...))
	if !maps.Equal(labels, want) || !slices.Equal(handlers, []string{"resize"}) {
		t.Errorf("%v %v", labels, handlers)
	}
	if texts := Texts(labels); !slices.Equal(texts, []string{"gpu=1", "k=a=b", "zone=eu/west-1"}) {
		t.Errorf("%q", texts)
	}
	for _, bad := range [][]string{{"gpu"}, {"=1"}, {"gpu="}, {"a b=1"}, {"a=b c"}, {"a=1,b=2"}, {"a=1", "a=2"}, {"a=" + strings.Repeat("x", MaxValue+1)}, {strings.Repeat("x", MaxKey+1) + "=1"}, {"a=b\n"}} {
		if x, err := Parse(bad); err == nil {
			t.Errorf("%q is %v", bad, x)
		}
	}
}
