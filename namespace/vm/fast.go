package vm

import (
	"bytes"
	"math"
	"reflect"
	"strings"

	"farm/namespace/vm/raw"
)

// fastCall calls functions of common types without package reflect, nil when it does not know the type. As
// elsewhere, the receiver comes after the arguments.
func fastCall(fn reflect.Value, _ reflect.Type, recv *shape) nativeFunc {
	if !fn.CanInterface() {
		return nil
	}
	if recv == nil {
		return fastFunc(fn.Interface())
	}
	return fastMethod(fn.Interface())
}

func fastFunc(fn any) nativeFunc {
	switch f := fn.(type) {
	case func(float64) float64:
		return func(_ *thread, _, np raw.Pointer) { setFloat(np, f(float(np, 0))) }
	case func(float64, float64) float64:
		return func(_ *thread, _, np raw.Pointer) { setFloat(np, f(float(np, 0), float(np, 8))) }
	case func(string) string:
		return func(_ *thread, pp, np raw.Pointer) { setString(pp, np, loc{}, f(str(pp, np, 0, 0))) }
	case func(string, string) string:
		return func(_ *thread, pp, np raw.Pointer) {
			setString(pp, np, loc{}, f(str(pp, np, 0, 0), str(pp, np, 8, 8)))
		}
	case func(string, string) bool:
		return func(_ *thread, pp, np raw.Pointer) { setBool(np, 0, f(str(pp, np, 0, 0), str(pp, np, 8, 8))) }
	case func(string, string) int:
		return func(_ *thread, pp, np raw.Pointer) {
			*raw.At[int64](np, 0) = int64(f(str(pp, np, 0, 0), str(pp, np, 8, 8)))
		}
	case func(int) string:
		return func(_ *thread, pp, np raw.Pointer) { setString(pp, np, loc{}, f(int(*raw.At[int64](np, 0)))) }
	case func(rune) bool:
		return func(_ *thread, _, np raw.Pointer) { setBool(np, 0, f(rune(*raw.At[int64](np, 0)))) }
	case func(rune) rune:
		return func(_ *thread, _, np raw.Pointer) { *raw.At[int64](np, 0) = int64(f(rune(*raw.At[int64](np, 0)))) }
	case func(string) (int, error):
		return func(_ *thread, pp, np raw.Pointer) {
			n, err := f(str(pp, np, 0, 0))
			printed(pp, np, n, err)
		}
	}
	return nil
}

// fastMethod is for what builds text.
func fastMethod(fn any) nativeFunc {
	switch f := fn.(type) {
	case func(*strings.Builder, string) (int, error):
		return func(_ *thread, pp, np raw.Pointer) {
			n, err := f(raw.As[strings.Builder](*raw.At[raw.Pointer](pp, 8)), str(pp, np, 0, 0))
			printed(pp, np, n, err)
		}
	case func(*bytes.Buffer, string) (int, error):
		return func(_ *thread, pp, np raw.Pointer) {
			n, err := f(raw.As[bytes.Buffer](*raw.At[raw.Pointer](pp, 8)), str(pp, np, 0, 0))
			printed(pp, np, n, err)
		}
	case func(*strings.Builder) string:
		return func(_ *thread, pp, np raw.Pointer) {
			setString(pp, np, loc{}, f(raw.As[strings.Builder](*raw.At[raw.Pointer](pp, 0))))
		}
	case func(*bytes.Buffer) string:
		return func(_ *thread, pp, np raw.Pointer) {
			setString(pp, np, loc{}, f(raw.As[bytes.Buffer](*raw.At[raw.Pointer](pp, 0))))
		}
	}
	return nil
}

func float(np raw.Pointer, off int32) float64 { return math.Float64frombits(*raw.At[uint64](np, off)) }

func setFloat(np raw.Pointer, v float64) { *raw.At[uint64](np, 0) = math.Float64bits(v) }
