package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"farm/internal/wire"
	"farm/scheduler"
)

// The shape of a log entry, which is the Data of a raft command entry:
//
//	byte 0     entryVersion
//	byte 1     flags, 0 in this version
//	varint     the leader's time, unix nanoseconds
//	uvarint    number of commands
//	           the commands, as scheduler.Command.AppendTo makes them
//	4 bytes    CRC32C of all before, little endian
const (
	entryVersion = 1
	crcBytes     = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrEntry is returned for log entries whose checksum or content is not what
// NewEntry makes.
var ErrEntry = errors.New("fsm: damaged log entry")

// ErrNewerFormat is returned for a data folder, snapshot or log entry that a
// newer farm wrote. The error names what it is and both versions.
var ErrNewerFormat = errors.New("written by a newer farm")

func newerFormat(what string, got, known uint64) error {
	return fmt.Errorf("fsm: %s has format %d, this farm knows up to %d: %w", what, got, known, ErrNewerFormat)
}

// NewEntry makes a log entry of n commands that are already encoded, one after
// the other, in body; now is the leader's time in unix nanoseconds.
func NewEntry(now int64, n int, body []byte) []byte {
	b := make([]byte, 0, 2+2*binary.MaxVarintLen64+len(body)+crcBytes)
	b = append(b, entryVersion, 0)
	b = wire.AppendInt(b, now)
	b = wire.AppendUint(b, uint64(n))
	b = append(b, body...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// EncodeEntry makes a log entry of commands.
func EncodeEntry(now int64, cmds []scheduler.Command) []byte {
	var body []byte
	for _, c := range cmds {
		body = c.AppendTo(body)
	}
	return NewEntry(now, len(cmds), body)
}

// DecodeEntry reads what NewEntry made. Byte slices of the commands are parts
// of b. Errors: ErrEntry, or ErrNewerFormat for an entry or a command of a
// version this build does not know.
func DecodeEntry(b []byte) (now int64, cmds []scheduler.Command, err error) {
	if len(b) < 2+crcBytes {
		return 0, nil, fmt.Errorf("%w: %d bytes", ErrEntry, len(b))
	}
	body, sum := b[:len(b)-crcBytes], binary.LittleEndian.Uint32(b[len(b)-crcBytes:])
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return 0, nil, fmt.Errorf("%w: checksum %08x, computed %08x", ErrEntry, sum, got)
	}
	r := wire.NewReader(body)
	if v := r.Byte(); v > entryVersion {
		return 0, nil, newerFormat("log entry", uint64(v), entryVersion)
	} else if v == 0 {
		return 0, nil, fmt.Errorf("%w: version 0", ErrEntry)
	}
	if f := r.Byte(); f != 0 {
		return 0, nil, fmt.Errorf("log entry with flags %#x: %w", f, ErrNewerFormat)
	}
	now = r.Int()
	n := r.Count()
	cmds = make([]scheduler.Command, 0, n)
	for range n {
		c, err := scheduler.DecodeCommand(r)
		if err != nil {
			return 0, nil, entryError(len(cmds), err)
		}
		cmds = append(cmds, c)
	}
	if err := r.Done(); err != nil {
		return 0, nil, entryError(len(cmds), err)
	}
	return now, cmds, nil
}

func entryError(n int, err error) error {
	var v *scheduler.VersionError
	if errors.As(err, &v) {
		return fmt.Errorf("command %d: %w: %w", n, ErrNewerFormat, err)
	}
	return fmt.Errorf("%w: command %d: %w", ErrEntry, n, err)
}
