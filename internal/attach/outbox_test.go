package attach

import (
	"testing"
	"time"

	"farm/api"
)

// opened is an outbox with a stream.
func opened() *Outbox {
	o := NewOutbox()
	o.Hello()
	o.Begin()
	return o
}

func ref(task string) *api.AttemptRef { return &api.AttemptRef{Task: task, Attempt: 1} }

func report(task string) *api.Complete { return &api.Complete{Task: task, Attempt: 1} }

// due tells whether something is to be sent now.
func (o *Outbox) due() bool { return len(o.wake) > 0 }

// TestOutboxLingers proves that what is not urgent is not sent at once, but is sent; that what
// is urgent takes it along; and that an attempt that is over is not said to have begun.
func TestOutboxLingers(t *testing.T) {
	o := opened()
	put := time.Now()
	o.Began(ref("a"))
	o.ReportSoon(report("b"))
	o.ReportSoon(report("c"))
	if o.due() && time.Since(put) < linger {
		t.Error("what is not urgent is sent at once")
	}
	o.Report(report("a"))
	if !o.due() {
		t.Error("a report is not sent at once")
	}
	<-o.wake
	if m, more := o.take(); len(m.Completes) != 3 || len(m.Began) != 0 || more {
		t.Errorf("%v, more %v", m, more)
	}
	for range 3 { // the timer is used again
		o.Began(ref("d"))
		select {
		case <-o.wake:
		case <-time.After(10 * time.Second):
			t.Fatal("what is not urgent is never sent")
		}
		if m, _ := o.take(); len(m.Began) != 1 {
			t.Errorf("%v", m)
		}
	}
}

// TestOutboxWakesOnce proves that the timer sends nothing where something else has sent it all.
func TestOutboxWakesOnce(t *testing.T) {
	o := opened()
	o.ReportSoon(report("a"))
	o.Report(report("b"))
	<-o.wake
	o.take()
	time.Sleep(20 * linger)
	if o.due() {
		t.Error("there is nothing to send")
	}
	o.ReportSoon(report("c"))
	o.End()
	time.Sleep(20 * linger)
	if o.due() {
		t.Error("there is no stream")
	}
}
