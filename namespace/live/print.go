package live

import (
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// starts is where the characters of a string begin.
func starts(s string) []int {
	at := make([]int, 0, len(s))
	for i := range s {
		at = append(at, i)
	}
	return at
}

// maxMake is how many bytes a slice may have, as the run-time of Go has it on 64-bit machines.
const maxMake = 1 << 48

// checkMake panics as make does for a slice of n elements and capacity c.
func checkMake(n, c, size int) {
	most := maxMake
	if size > 0 {
		most /= size
	} else {
		most = math.MaxInt
	}
	switch {
	case n < 0 || n > most:
		panic(runtimeError("makeslice: len out of range"))
	case c < n || c > most:
		panic(runtimeError("makeslice: cap out of range"))
	}
}

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
		b.WriteString(printFloat(v.Float(), v.Type().Bits()))
	case reflect.Complex64, reflect.Complex128:
		b.WriteString(printComplex(v.Complex(), v.Type().Bits()))
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

// printFloat is a float as print shows it: the shortest text that reads back as the same number.
func printFloat(f float64, bits int) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 0):
		return fmt.Sprintf("%+v", f)
	}
	return strconv.FormatFloat(f, 'g', -1, bits)
}

// printComplex is a complex number as print shows it: (1+2i).
func printComplex(c complex128, bits int) string {
	im := printFloat(imag(c), bits/2)
	if im[0] != '-' && im[0] != '+' {
		im = "+" + im
	}
	return "(" + printFloat(real(c), bits/2) + im + "i)"
}
