package vm

import (
	"go/types"
	"reflect"

	"golang.org/x/tools/go/ssa"

	"farm/namespace/vm/raw"
)

// chanType is what operations on channels need to know of their type.
type chanType struct {
	t    raw.Type // of a channel for both directions
	elem *typ
}

func (f *function) chanType(t types.Type) *chanType {
	c := t.Underlying().(*types.Chan)
	both := f.m.typeOf(types.NewChan(types.SendRecv, c.Elem()))
	return &chanType{both.Type, f.m.typeOf(c.Elem())}
}

// at is the channel in a pointer register.
func (c *chanType) at(pp raw.Pointer, off int32) reflect.Value {
	return raw.Value(c.t, raw.Add(pp, int(off)))
}

func (f *function) makeChan(x *ssa.MakeChan) {
	ct := f.chanType(x.Type())
	dst, n := f.reg(x).p*8, f.use(x.Size).n*8
	size := uint64(max(sizes.Sizeof(ct.elem.t), 1))
	rt := raw.Reflect(ct.t)
	f.emitFn(func(t *thread, pp, np raw.Pointer) {
		k := *raw.At[int64](np, n)
		if k < 0 || uint64(k) > uint64(t.m.lim.Memory)/size {
			_ = make(chan int, minusOne)
		}
		*raw.At[raw.Pointer](pp, dst) = reflect.MakeChan(rt, int(k)).UnsafePointer()
	})
}

func (f *function) send(x *ssa.Send) {
	ct := f.chanType(x.Chan.Type())
	c, v := f.use(x.Chan).p*8, f.use(x.X)
	f.emitFn(func(t *thread, pp, np raw.Pointer) {
		ch, val := ct.at(pp, c), memory(ct.elem.rt, ct.elem.shape, pp, np, v)
		if !ch.IsNil() && ch.TrySend(val) {
			return
		}
		t.block([]reflect.SelectCase{{Dir: reflect.SelectSend, Chan: ch, Send: val}})
	})
}

// block waits for one of the cases, or the end of the task.
func (t *thread) block(cases []reflect.SelectCase) (int, reflect.Value, bool) {
	cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(t.run.done)})
	i, v, ok := reflect.Select(cases)
	if i == len(cases)-1 {
		panic(stopped{})
	}
	return i, v, ok
}

func (f *function) receive(dst loc, x *ssa.UnOp) {
	ct := f.chanType(x.X.Type())
	c := f.use(x.X).p * 8
	okAt := int32(-1)
	if x.CommaOk {
		okAt = (dst.n + ct.elem.size.n) * 8
	}
	f.emitFn(func(t *thread, pp, np raw.Pointer) {
		ch := ct.at(pp, c)
		v, ok := reflect.Value{}, false
		if !ch.IsNil() {
			v, ok = ch.TryRecv()
		}
		if !v.IsValid() {
			_, v, ok = t.block([]reflect.SelectCase{{Dir: reflect.SelectRecv, Chan: ch}})
		}
		fromValue(ct.elem.shape, v, raw.Add(pp, int(dst.p)*8), raw.Add(np, int(dst.n)*8))
		if okAt >= 0 {
			setBool(np, okAt, ok)
		}
	})
}

func (f *function) closeCall(x ssa.Value) {
	ct := f.chanType(x.Type())
	c := f.use(x).p * 8
	f.emitFn(func(_ *thread, pp, _ raw.Pointer) { ct.at(pp, c).Close() })
}

// selectCase is a case of a select.
type selectCase struct {
	*chanType
	send  bool
	c     int32
	v     loc // what is sent, or where what is received goes
	index int
}

func (f *function) selectOf(x *ssa.Select) {
	dst := f.reg(x) // index, ok, then what is received
	at := dst.plus(loc{0, 2})
	var list []selectCase
	for i, s := range x.States {
		sc := selectCase{chanType: f.chanType(s.Chan.Type()), c: f.use(s.Chan).p * 8, send: s.Dir == types.SendOnly, index: i}
		if sc.send {
			sc.v = f.use(s.Send)
		} else {
			sc.v = at
			at = at.plus(sc.elem.size)
		}
		list = append(list, sc)
	}
	blocking := x.Blocking
	f.emitFn(func(t *thread, pp, np raw.Pointer) {
		cases := make([]reflect.SelectCase, len(list), len(list)+1)
		for i, sc := range list {
			cases[i] = reflect.SelectCase{Dir: reflect.SelectRecv, Chan: sc.at(pp, sc.c)}
			if sc.send {
				cases[i].Dir, cases[i].Send = reflect.SelectSend, memory(sc.elem.rt, sc.elem.shape, pp, np, sc.v)
			}
		}
		var i int
		var v reflect.Value
		var ok bool
		if blocking {
			i, v, ok = t.block(cases)
		} else {
			i, v, ok = reflect.Select(append(cases, reflect.SelectCase{Dir: reflect.SelectDefault}))
			if i == len(list) {
				i = -1
			}
		}
		*raw.At[int64](np, dst.n*8) = int64(i)
		setBool(np, dst.n*8+8, ok)
		for j, sc := range list {
			if sc.send {
				continue
			}
			d, e := raw.Add(pp, int(sc.v.p)*8), raw.Add(np, int(sc.v.n)*8)
			if j == i && v.IsValid() {
				fromValue(sc.elem.shape, v, d, e)
			} else {
				sc.elem.zero(d, e)
			}
		}
	})
}
