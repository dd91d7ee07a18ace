package fsm

import (
	"crypto/sha256"
	"fmt"

	"github.com/hashicorp/raft"

	"farm/internal/wire"
	"farm/scheduler"
)

// position says how far in the log a state is.
type position struct {
	Applied uint64 // index of the last command or configuration applied
	Term    uint64 // of that entry
	Policy  uint64 // version of the placement rules

	ChainIndex uint64 // the last command entry
	Chain      [sha256.Size]byte
	Decided    [sha256.Size]byte // of what the scheduler made of them

	Configuration      raft.Configuration
	ConfigurationIndex uint64

	// Raft counts entries that it never shows to the state machine. When it
	// takes or installs a snapshot it says up to which index and term the
	// state answers for. Local to a replica.
	CoverIndex, CoverTerm uint64
}

// reached is the index and term up to which nothing is missing.
func (p *position) reached() (index, term uint64) {
	if p.CoverIndex > p.Applied {
		return p.CoverIndex, p.CoverTerm
	}
	return p.Applied, p.Term
}

// link adds an entry to the rolling hash over all command entries, and to that
// over what the scheduler made of them, as decisions tells it.
func (p *position) link(index uint64, data, decided []byte) {
	at := wire.AppendUint(nil, index)
	p.Chain = chained(p.Chain, at, data)
	p.Decided = chained(p.Decided, at, decided)
	p.ChainIndex = index
}

func chained(last [sha256.Size]byte, at, data []byte) (next [sha256.Size]byte) {
	h := sha256.New()
	h.Write(last[:])
	h.Write(at)
	h.Write(data)
	h.Sum(next[:0])
	return next
}

// decisions appends what the scheduler answered and decided: replicas that would
// drift apart differ here first.
func decisions(b []byte, results []scheduler.Result, effects []scheduler.Effect) []byte {
	for _, r := range results {
		b = wire.AppendUint(append(b, byte(r.Code)), r.Order)
	}
	for i := range effects {
		e := &effects[i]
		b = append(b, byte(e.Kind))
		if e.Task != nil {
			b = wire.AppendString(b, e.Task.ID)
		}
		b = wire.AppendString(b, e.Worker)
		b = wire.AppendUint(b, e.Incarnation)
		b = wire.AppendUint(b, uint64(e.Attempt))
		b = wire.AppendUint(b, e.Version)
	}
	return b
}

// Mark is the log and what was decided on it, up to one entry, as a hash to be
// compared between replicas.
type Mark struct {
	Index uint64
	Sum   [sha256.Size]byte
}

const (
	markEvery = 64 // log indexes; the first command entry at or past each multiple is marked
	marksKept = 64
)

// marks are the newest marks, the oldest first.
type marks []Mark

// add marks the position if its entry is the first one past a multiple of
// markEvery: which entries are marked follows from the log alone.
func (ms *marks) add(p *position, before uint64) {
	if p.ChainIndex/markEvery == before/markEvery {
		return
	}
	if len(*ms) == marksKept {
		*ms = append((*ms)[:0], (*ms)[1:]...)
	}
	*ms = append(*ms, Mark{p.ChainIndex, chained(p.Chain, nil, p.Decided[:])})
}

// meta is the one record, written with every batch of records, that says what
// the file holds.
type meta struct {
	position
	totals
}

const metaVersion = 1

func (m *meta) encode() []byte {
	b := m.appendShared([]byte{metaVersion})
	b = wire.AppendUint(b, m.CoverIndex)
	return wire.AppendUint(b, m.CoverTerm)
}

func decodeMeta(b []byte) (*meta, error) {
	r := wire.NewReader(b)
	if v := r.Byte(); v > metaVersion {
		return nil, newerFormat("the state's meta record", uint64(v), metaVersion)
	}
	m := &meta{}
	m.readShared(r)
	m.CoverIndex, m.CoverTerm = r.Uint(), r.Uint()
	return m, r.Done()
}

// appendShared appends what is the same on every replica at the same index.
func (m *meta) appendShared(b []byte) []byte {
	b = wire.AppendUint(b, m.Applied)
	b = wire.AppendUint(b, m.Term)
	b = wire.AppendUint(b, m.Policy)
	b = wire.AppendUint(b, m.ChainIndex)
	b = append(append(b, m.Chain[:]...), m.Decided[:]...)
	b = wire.AppendUint(b, m.ConfigurationIndex)
	b = appendConfiguration(b, m.Configuration)
	b = wire.AppendUint(b, m.Count)
	b = wire.AppendUint(b, m.Bytes)
	for _, v := range m.Sum {
		b = wire.AppendUint(b, v)
	}
	return b
}

func (m *meta) readShared(r *wire.Reader) {
	m.Applied, m.Term, m.Policy, m.ChainIndex = r.Uint(), r.Uint(), r.Uint(), r.Uint()
	for _, sum := range [...]*[sha256.Size]byte{&m.Chain, &m.Decided} {
		for i := range sum {
			sum[i] = r.Byte()
		}
	}
	m.ConfigurationIndex = r.Uint()
	m.Configuration = readConfiguration(r)
	m.Count, m.Bytes = r.Uint(), r.Uint()
	for i := range m.Sum {
		m.Sum[i] = r.Uint()
	}
}

func appendConfiguration(b []byte, c raft.Configuration) []byte {
	b = wire.AppendUint(b, uint64(len(c.Servers)))
	for _, s := range c.Servers {
		b = wire.AppendUint(b, uint64(s.Suffrage))
		b = wire.AppendString(b, string(s.ID))
		b = wire.AppendString(b, string(s.Address))
	}
	return b
}

func readConfiguration(r *wire.Reader) (c raft.Configuration) {
	for range r.Count() {
		c.Servers = append(c.Servers, raft.Server{
			Suffrage: raft.ServerSuffrage(r.Uint()), ID: raft.ServerID(r.String()), Address: raft.ServerAddress(r.String())})
	}
	return c
}

// checkPolicy refuses a state whose tasks were placed by rules this build does
// not have: it would place them differently from the other replicas.
func checkPolicy(p uint64) error {
	if p > scheduler.PolicyVersion {
		return fmt.Errorf("placement rules: %w", newerFormat("the state", p, scheduler.PolicyVersion))
	}
	return nil
}
