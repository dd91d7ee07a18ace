package vm

import (
	"bytes"
	"math"
	"strings"

	"farm/namespace/vm/raw"
)

// direct makes a function of the machine that calls one of compiled Go: with arguments, the receiver first,
// from the registers args, and its results in those from dst on.
type direct func(args []loc, dst loc) nativeFunc

// inPlace are the registers of arguments as a call leaves them: one after the other, the receiver last.
func inPlace(params []*shape, recv *shape) []loc {
	var out []loc
	at := loc{}
	for _, s := range params {
		out = append(out, at)
		at = at.plus(s.size)
	}
	if recv != nil {
		out = append([]loc{at}, out...)
	}
	return out
}

// directFunc says how functions of common types are called without package reflect, nil when it does not
// know the type.
func directFunc(fn any) direct {
	switch f := fn.(type) {
	case func(float64) float64:
		return func(a []loc, dst loc) nativeFunc {
			return func(_ *thread, _, np raw.Pointer) { setFloat(np, dst, f(float(np, a[0]))) }
		}
	case func(float64, float64) float64:
		return func(a []loc, dst loc) nativeFunc {
			return func(_ *thread, _, np raw.Pointer) { setFloat(np, dst, f(float(np, a[0]), float(np, a[1]))) }
		}
	case func(string) string:
		return func(a []loc, dst loc) nativeFunc {
			return func(_ *thread, pp, np raw.Pointer) { setString(pp, np, dst, f(text(pp, np, a[0]))) }
		}
	case func(string, string) string:
		return func(a []loc, dst loc) nativeFunc {
			return func(_ *thread, pp, np raw.Pointer) {
				setString(pp, np, dst, f(text(pp, np, a[0]), text(pp, np, a[1])))
			}
		}
	case func(string, string) bool:
		return func(a []loc, dst loc) nativeFunc {
			return func(_ *thread, pp, np raw.Pointer) {
				setBool(np, dst.n*8, f(text(pp, np, a[0]), text(pp, np, a[1])))
			}
		}
	case func(string, string) int:
		return func(a []loc, dst loc) nativeFunc {
			return func(_ *thread, pp, np raw.Pointer) {
				setInt(np, dst, f(text(pp, np, a[0]), text(pp, np, a[1])))
			}
		}
	case func(int) string:
		return func(a []loc, dst loc) nativeFunc {
			return func(_ *thread, pp, np raw.Pointer) { setString(pp, np, dst, f(number(np, a[0]))) }
		}
	case func(rune) bool:
		return func(a []loc, dst loc) nativeFunc {
			return func(_ *thread, _, np raw.Pointer) { setBool(np, dst.n*8, f(rune(number(np, a[0])))) }
		}
	case func(rune) rune:
		return func(a []loc, dst loc) nativeFunc {
			return func(_ *thread, _, np raw.Pointer) { setInt(np, dst, int(f(rune(number(np, a[0]))))) }
		}
	case func(string) (int, error):
		return func(a []loc, dst loc) nativeFunc {
			return func(_ *thread, pp, np raw.Pointer) {
				n, err := f(text(pp, np, a[0]))
				setInt(np, dst, n)
				setError(pp, dst.p, err)
			}
		}
	}
	return directMethod(fn)
}

// directMethod is for what builds text.
func directMethod(fn any) direct {
	switch f := fn.(type) {
	case func(*strings.Builder, string) (int, error):
		return writer(f)
	case func(*bytes.Buffer, string) (int, error):
		return writer(f)
	case func(*strings.Builder, byte) error:
		return byteWriter(f)
	case func(*bytes.Buffer, byte) error:
		return byteWriter(f)
	case func(*strings.Builder, rune) (int, error):
		return runeWriter(f)
	case func(*bytes.Buffer, rune) (int, error):
		return runeWriter(f)
	case func(*strings.Builder) string:
		return stringer(f)
	case func(*bytes.Buffer) string:
		return stringer(f)
	case func(*strings.Builder) int:
		return counter(f)
	case func(*bytes.Buffer) int:
		return counter(f)
	}
	return nil
}

func writer[T any](f func(*T, string) (int, error)) direct {
	return func(a []loc, dst loc) nativeFunc {
		w, s := a[0].p*8, a[1]
		return func(_ *thread, pp, np raw.Pointer) {
			n, err := f(raw.As[T](*raw.At[raw.Pointer](pp, w)), text(pp, np, s))
			setInt(np, dst, n)
			setError(pp, dst.p, err)
		}
	}
}

func byteWriter[T any](f func(*T, byte) error) direct {
	return func(a []loc, dst loc) nativeFunc {
		w, c := a[0].p*8, a[1]
		return func(_ *thread, pp, np raw.Pointer) {
			setError(pp, dst.p, f(raw.As[T](*raw.At[raw.Pointer](pp, w)), byte(number(np, c))))
		}
	}
}

func runeWriter[T any](f func(*T, rune) (int, error)) direct {
	return func(a []loc, dst loc) nativeFunc {
		w, c := a[0].p*8, a[1]
		return func(_ *thread, pp, np raw.Pointer) {
			n, err := f(raw.As[T](*raw.At[raw.Pointer](pp, w)), rune(number(np, c)))
			setInt(np, dst, n)
			setError(pp, dst.p, err)
		}
	}
}

func stringer[T any](f func(*T) string) direct {
	return func(a []loc, dst loc) nativeFunc {
		return func(_ *thread, pp, np raw.Pointer) {
			setString(pp, np, dst, f(raw.As[T](*raw.At[raw.Pointer](pp, a[0].p*8))))
		}
	}
}

func counter[T any](f func(*T) int) direct {
	return func(a []loc, dst loc) nativeFunc {
		return func(_ *thread, pp, np raw.Pointer) {
			setInt(np, dst, f(raw.As[T](*raw.At[raw.Pointer](pp, a[0].p*8))))
		}
	}
}

func text(pp, np raw.Pointer, at loc) string { return str(pp, np, at.p*8, at.n*8) }

func number(np raw.Pointer, at loc) int { return int(*raw.At[int64](np, at.n*8)) }

func setInt(np raw.Pointer, at loc, v int) { *raw.At[int64](np, at.n*8) = int64(v) }

func float(np raw.Pointer, at loc) float64 { return math.Float64frombits(*raw.At[uint64](np, at.n*8)) }

func setFloat(np raw.Pointer, at loc, v float64) {
	*raw.At[uint64](np, at.n*8) = math.Float64bits(v)
}
