package replica

import (
	"farm/api"
	"farm/scheduler"
)

// optionsOf is what a request asks for beyond the fields of a plain task, nil when
// that is nothing.
func optionsOf(s *api.Submit) *scheduler.Options {
	o := &scheduler.Options{Needs: s.Needs}
	if o.None() {
		return nil
	}
	return o
}

// showOptions puts a task's options into its view.
func showOptions(v *api.Task, t *scheduler.Task) {
	if o := t.Options; o != nil {
		v.Needs = o.Needs
	}
}
