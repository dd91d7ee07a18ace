package consensus

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// A connection of raft begins with a hello of the node that dials: the four bytes
// "farm", a format byte, the length of the instance in one byte, and the instance of
// the node it means to reach. raft itself names nobody, so a leader would fill the log
// of whoever listens now where a node of its cluster once did: of another cluster too.
const (
	helloMagic   = "farm"
	helloFormat  = 1
	maxInstance  = 64              // bytes of an instance
	helloTimeout = 2 * time.Second // for it to arrive
)

// errNotMeant says that a connection was for another node, or is not of raft.
var errNotMeant = errors.New("consensus: a connection that is not meant for this node")

func sayHello(c net.Conn, instance string) error {
	if len(instance) > maxInstance {
		return fmt.Errorf("consensus: an instance of %d bytes, at most %d", len(instance), maxInstance)
	}
	if err := c.SetWriteDeadline(time.Now().Add(helloTimeout)); err != nil {
		return err
	}
	hello := append([]byte(helloMagic), helloFormat, byte(len(instance)))
	if _, err := c.Write(append(hello, instance...)); err != nil {
		return err
	}
	return c.SetWriteDeadline(time.Time{})
}

// hearHello reads a hello and compares whom it is for. An empty instance on either
// side matches any: the configuration of a cluster that is older than instances has
// none until its members have announced themselves.
func hearHello(c net.Conn, instance string) error {
	if err := c.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
		return err
	}
	var head [len(helloMagic) + 2]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return fmt.Errorf("%w: no hello: %w", errNotMeant, err)
	}
	size := int(head[len(head)-1])
	if string(head[:len(helloMagic)]) != helloMagic || head[len(helloMagic)] != helloFormat || size > maxInstance {
		return fmt.Errorf("%w: a hello of another kind", errNotMeant)
	}
	meant := make([]byte, size)
	if _, err := io.ReadFull(c, meant); err != nil {
		return fmt.Errorf("%w: half a hello: %w", errNotMeant, err)
	}
	if size > 0 && instance != "" && string(meant) != instance {
		return fmt.Errorf("%w: it is for %q, this is %q", errNotMeant, meant, instance)
	}
	return c.SetReadDeadline(time.Time{})
}

// JoinAddress puts together the address of a member: what raft dials, where its API
// is, and its instance.
func JoinAddress(raft, api, instance string) string {
	return strings.Join([]string{raft, api, instance}, "|")
}

// SplitAddress takes apart what JoinAddress made. Parts that are not there are empty.
func SplitAddress(address string) (raft, api, instance string) {
	raft, rest, _ := strings.Cut(address, "|")
	api, instance, _ = strings.Cut(rest, "|")
	return raft, api, instance
}
