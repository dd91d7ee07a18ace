package worker

import (
	"container/list"

	"farm/api"
)

// Limits of the cache of jobs' programs. A job that is missing costs a new
// stream, on which the leader says its program again.
const (
	maxSpecs     = 4096
	maxSpecBytes = 128 << 20
)

// specCache keeps what jobs' tasks share. The zero value is ready.
type specCache struct {
	byJob map[string]*list.Element
	used  list.List // of *specEntry, the last used first
	bytes int
}

type specEntry struct {
	job  string
	spec *api.JobSpec
}

func (c *specCache) get(job string) *api.JobSpec {
	e := c.byJob[job]
	if e == nil {
		return nil
	}
	c.used.MoveToFront(e)
	return e.Value.(*specEntry).spec
}

func (c *specCache) put(job string, spec *api.JobSpec) {
	if c.byJob == nil {
		c.byJob = map[string]*list.Element{}
	}
	if e := c.byJob[job]; e != nil {
		c.remove(e)
	}
	c.byJob[job] = c.used.PushFront(&specEntry{job, spec})
	c.bytes += specSize(spec)
	for c.used.Len() > 1 && (c.used.Len() > maxSpecs || c.bytes > maxSpecBytes) {
		c.remove(c.used.Back())
	}
}

func (c *specCache) remove(e *list.Element) {
	s := c.used.Remove(e).(*specEntry)
	delete(c.byJob, s.job)
	c.bytes -= specSize(s.spec)
}

func specSize(s *api.JobSpec) int { return len(s.Source) + fixedCost }

// fixedCost is the bytes reckoned for the small parts of one element.
const fixedCost = 128
