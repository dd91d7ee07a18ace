package live

import (
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
)

// words is a value that print shows as the two words of an interface.
type words struct{ v any }

// printBuiltin writes what the built-in print (sep "") and println (sep " ") write.
func printBuiltin(w io.Writer, sep string, args []any) {
	var b strings.Builder
	for i, a := range args {
		if i > 0 {
			b.WriteString(sep)
		}
		printValue(&b, a)
	}
	if sep != "" {
		b.WriteByte('\n')
	}
	_, _ = io.WriteString(w, b.String())
}

func printValue(b *strings.Builder, a any) {
	if x, ok := a.(words); ok {
		if x.v == nil {
			b.WriteString("(0x0,0x0)")
		} else {
			t := reflect.ValueOf(&x.v).Pointer()
			fmt.Fprintf(b, "(%#x,%#x)", reflect.ValueOf(reflect.TypeOf(x.v)).Pointer(), t)
		}
		return
	}
	v := reflect.ValueOf(a)
	switch v.Kind() {
	case reflect.Invalid:
		b.WriteString("0x0")
	case reflect.Float32, reflect.Float64:
		b.WriteString(printFloat(v.Float()))
	case reflect.Complex64, reflect.Complex128:
		c := v.Complex()
		b.WriteString("(" + printFloat(real(c)) + printFloat(imag(c)) + "i)")
	case reflect.Slice:
		fmt.Fprintf(b, "[%d/%d]%#x", v.Len(), v.Cap(), v.Pointer())
	case reflect.Pointer, reflect.Map, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		fmt.Fprintf(b, "%#x", v.Pointer())
	case reflect.Bool:
		fmt.Fprint(b, v.Bool())
	case reflect.String:
		b.WriteString(v.String())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		fmt.Fprint(b, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		fmt.Fprint(b, v.Uint())
	default:
		fmt.Fprint(b, a)
	}
}

// printFloat is a float as print shows it: +1.500000e+000.
func printFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "+Inf"
	case math.IsInf(f, -1):
		return "-Inf"
	}
	s := fmt.Sprintf("%+.6e", f)
	at := strings.IndexByte(s, 'e') + 2
	return s[:at] + strings.Repeat("0", max(0, 3-len(s[at:]))) + s[at:]
}
