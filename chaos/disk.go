package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"farm/internal/crash"
)

const (
	smallDiskBytes = 192 << 20
	exitDisk       = 71 // of a node whose log cannot be trusted
	exitState      = 70 // of a node whose state cannot be trusted
	exitDiverged   = 72 // of a node whose state is not that of the others
)

// failing starts a node again with a point that fails, and waits until it ends with
// an exit code that says so.
func (x *run) failing(ctx context.Context, n *node, setting string, codes ...int) (string, error) {
	if err := x.kill(n); err != nil {
		return "", err
	}
	if err := x.c.spawn(n, crash.Variable+"="+setting); err != nil {
		return "", err
	}
	code, _, err := x.c.awaitExit(ctx, n, healthLimit)
	if err != nil {
		return "", err
	}
	if !slices.Contains(codes, code) {
		return "", fmt.Errorf("%s: %s", n.id, x.c.ending(n))
	}
	return fmt.Sprintf("%s ended with code %d at %s", n.id, code, setting), x.c.spawn(n)
}

func logError(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	all := x.c.members()
	return x.failing(ctx, all[r.IntN(len(all))], fmt.Sprintf("log.before-write:%d:error", 1+r.IntN(40)), exitDisk)
}

func stateError(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	all := x.c.members()
	return x.failing(ctx, all[r.IntN(len(all))], fmt.Sprintf("state.before-commit:%d:error", 1+r.IntN(5)), exitState)
}

// diskFull fills the file system of the node that has one of its own. Where that is
// not allowed, a write to the log fails as it does on a full disk.
func diskFull(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	all := x.c.members()
	i := slices.IndexFunc(all, func(n *node) bool { return n.full })
	if i < 0 {
		evidence, err := x.failing(ctx, all[r.IntN(len(all))], fmt.Sprintf("log.before-write:%d:full", 1+r.IntN(40)), exitDisk)
		return evidence + " (no file system could be mounted)", err
	}
	n := all[i]
	ballast := filepath.Join(n.dir, "ballast")
	from := x.c.logSize(n)
	if err := fill(ballast); err != nil {
		return "", err
	}
	code, sig, err := x.c.awaitExit(ctx, n, healthLimit)
	if err := errors.Join(err, os.Remove(ballast)); err != nil {
		return "", err
	}
	if (code != exitDisk && code != exitState) || !x.c.logged(n, from, "no space left") {
		return "", fmt.Errorf("%s ended with code %d, signal %v on a full disk%s", n.id, code, sig, x.c.tail(n))
	}
	return fmt.Sprintf("%s ended with code %d: no space left", n.id, code), x.c.spawn(n)
}

// fill writes until there is no space.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size >= 512; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			return err
		}
	}
	return nil
}

// diskStall makes the leader's log hang: without an end of the process there would
// be no election.
func diskStall(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	n, err := x.leader(ctx)
	if err != nil {
		return "", err
	}
	from := x.c.logSize(n)
	acked := x.h.next()
	if err := os.WriteFile(x.c.stallPath(n), nil, 0o600); err != nil {
		return "", err
	}
	code, _, err := x.c.awaitExit(ctx, n, healthLimit)
	if err := errors.Join(err, os.Remove(x.c.stallPath(n))); err != nil {
		return "", err
	}
	if code != exitDisk || !x.c.logged(n, from, "took longer than") {
		return "", fmt.Errorf("%s: %s", n.id, x.c.ending(n))
	}
	if err := x.acknowledged(ctx, acked); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, the leader, ended with code %d", n.id, code), x.c.spawn(n)
}

// ---- files at rest ----

// damage kills a node, damages one of its files, and starts it. Either the node, or
// farm verify, must find the damage and name it, or nothing of what was written is
// affected, and the node may go on. A node whose damage was found is replaced.
func (x *run) damage(ctx context.Context, n *node, file string, how func(path string) (string, error)) (string, error) {
	if err := x.kill(n); err != nil {
		return "", err
	}
	path, err := fileOf(n.dir, file)
	if err != nil {
		return "", err
	}
	what, err := how(path)
	if err != nil {
		return "", err
	}
	what = fmt.Sprintf("%s: %s: %s", n.id, filepath.Base(path), what)
	from := x.c.logSize(n)
	if err := x.c.spawn(n); err != nil {
		return "", err
	}
	found, err := x.refuses(ctx, n, from)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	if found == "" { // it runs; what it has at rest is looked at in whole
		err := x.stop(ctx, n)
		if err == nil {
			found = x.verify(ctx, n)
		} else if found = x.saysOfDamage(n, from); found == "" { // it may have come upon it at that moment
			return "", err
		}
		if found == "" {
			return what + ": what was written is intact", x.c.spawn(n)
		}
	}
	x.found.Add(1)
	replaced, err := x.replace(ctx, n)
	return fmt.Sprintf("%s: found (%s); %s", what, found, replaced), err
}

// refuses waits until a node that was started either is ready or has ended because
// of damage, and returns what it said of it.
func (x *run) refuses(ctx context.Context, n *node, from int64) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	said := ""
	err := poll(ctx, func() (bool, error) {
		if !n.proc.over() {
			return x.c.unhealthy(ctx) == nil, nil
		}
		if said = x.saysOfDamage(n, from); said == "" {
			said = "the end of the process, without a word of why"
			x.violate(promiseIntact, "%s ended on damaged data and does not say so: %s", n.id, x.c.ending(n))
		}
		return true, nil
	})
	return said, err
}

// saysOfDamage is the last that a node that has ended wrote of damage into its log, of
// which from is the start; nothing if it wrote nothing.
func (x *run) saysOfDamage(n *node, from int64) (said string) {
	b, err := os.ReadFile(x.c.logPath(n))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b[from:])) {
		if strings.Contains(line, "corrupt") || strings.Contains(line, "checksum") || strings.Contains(line, "bbolt") {
			said = strings.TrimSpace(line)
		}
	}
	return shortened(said)
}

func shortened(s string) string {
	if i := strings.Index(s, "error="); i >= 0 {
		s = s[i+len("error="):]
	}
	return s[:min(len(s), 160)]
}

// verify asks farm verify about the folder of a node that does not run, and returns
// what it finds wrong with it.
func (x *run) verify(ctx context.Context, n *node) string {
	out, err := exec.CommandContext(ctx, x.c.opt.binary, "verify", n.dir).CombinedOutput()
	if err == nil {
		return ""
	}
	return shortened(strings.TrimSpace(string(out)))
}

// fileOf is the state, or the newest part of the log, of a node.
func fileOf(dir, what string) (string, error) {
	if what == "state" {
		return filepath.Join(dir, "state.db"), nil
	}
	if path := filepath.Join(dir, "raft", "raft.db"); exists(path) {
		return path, nil
	}
	parts, err := filepath.Glob(filepath.Join(dir, "raft", "wal", "*.wal"))
	if err != nil || len(parts) == 0 {
		return "", fmt.Errorf("%s has no log: %w", dir, fs.ErrNotExist)
	}
	slices.Sort(parts)
	for i := len(parts) - 1; i > 0; i-- { // the last one may be empty yet
		if b, err := os.ReadFile(parts[i]); err == nil && used(b) > 4096 {
			return parts[i], nil
		}
	}
	return parts[0], nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// used is where the zeros begin at the end of a file.
func used(b []byte) int { return len(bytes.TrimRight(b, "\x00")) }

// flip makes one bit of what is in use another.
func flip(r *rand.Rand) func(string) (string, error) {
	return func(path string) (string, error) {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		end := used(b)
		at := r.IntN(end)
		for b[at] == 0 { // most zeros are nothing
			at = (at + 1) % end
		}
		bit := r.IntN(8)
		b[at] ^= 1 << bit
		return fmt.Sprintf("bit %d of byte %d of %d flipped", bit, at, end), os.WriteFile(path, b, 0o600)
	}
}

// cutEnd takes away up to half of what is in use.
func cutEnd(r *rand.Rand) func(string) (string, error) {
	return func(path string) (string, error) {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		end := used(b)
		at := end - 1 - r.IntN(end/2)
		return fmt.Sprintf("cut from %d bytes to %d", end, at), os.Truncate(path, int64(at))
	}
}

func flipLog(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	return x.damageAny(ctx, r, "log", flip(r))
}

func flipState(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	return x.damageAny(ctx, r, "state", flip(r))
}

func cutLog(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	return x.damageAny(ctx, r, "log", cutEnd(r))
}

func cutState(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	return x.damageAny(ctx, r, "state", cutEnd(r))
}

func (x *run) damageAny(ctx context.Context, r *rand.Rand, file string, how func(string) (string, error)) (string, error) {
	all := slices.DeleteFunc(x.c.members(), func(n *node) bool { return n.full })
	return x.damage(ctx, all[r.IntN(len(all))], file, how)
}

// oldState puts an older copy of the state in the place of a newer one, the log
// staying as it is: the log must bring it to where it was.
func oldState(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	all := x.c.members()
	n := all[r.IntN(len(all))]
	state, old := filepath.Join(n.dir, "state.db"), n.dir+".old-state"
	if err := x.kill(n); err != nil {
		return "", err
	}
	if err := copyFile(old, state); err != nil {
		return "", err
	}
	if err := x.c.spawn(n); err != nil {
		return "", err
	}
	if err := x.c.awaitHealthy(ctx); err != nil {
		return "", err
	}
	then, err := x.c.info(ctx, n, true)
	if err != nil {
		return "", err
	}
	var now uint64
	err = x.soon(ctx, "the state goes on", func() bool {
		i, err := x.c.info(ctx, n, true) // with the hash: it is written to disk
		if err == nil {
			now = i.Applied
		}
		return now > then.Applied+200
	})
	if err != nil {
		return "", err
	}
	if err := errors.Join(x.kill(n), os.Rename(old, state)); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s was at entry %d, its state is of one before %d", n.id, now, then.Applied), x.c.spawn(n)
}

func copyFile(to, from string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// ---- snapshots ----

// installSnapshot keeps a node down until the log of the others does not reach back
// to it, and lets it die at every step of getting the state instead.
func installSnapshot(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	n, err := x.c.follower(ctx, r.IntN)
	if err != nil {
		return "", err
	}
	was, err := x.c.info(ctx, n, false)
	if err != nil {
		return "", err
	}
	if err := x.kill(n); err != nil {
		return "", err
	}
	if err := x.manyEntries(ctx, was.Applied+keptEntries+4*snapshotEntries); err != nil {
		return "", err
	}
	for _, point := range []string{"snapshot.receive", "restore.built", "restore.renamed"} {
		if err := x.c.spawn(n, crash.Variable+"="+point+":1"); err != nil {
			return "", err
		}
		if _, sig, err := x.c.awaitExit(ctx, n, healthLimit); err != nil || sig != syscall.SIGKILL {
			return "", fmt.Errorf("%s did not come to %s: %w", n.id, point, err)
		}
	}
	return fmt.Sprintf("%s was at entry %d, got a snapshot, died when it received it, when it was built and when it was in its place", n.id, was.Applied), x.c.spawn(n)
}

const (
	keptEntries     = 10_240 // that a log keeps behind a snapshot
	snapshotEntries = 400    // after which one is taken in this scenario
	// The first entries of each writer fill a segment of a log that has segments:
	// what is cut off is still there, and still sent, until a whole one is.
	largeEntries, largeBytes = 20, 400_000
)

// manyEntries writes, mostly with little in each entry, until the log has reached an index.
func (x *run) manyEntries(ctx context.Context, until uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 3*healthLimit)
	defer cancel()
	write, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			ns := x.load.clients[i%len(x.load.clients)].Namespace(fmt.Sprintf("many-%d-%d", i, x.number.Add(1)))
			for k := 0; write.Err() == nil; k++ {
				v := strconv.Itoa(k)
				if k < largeEntries {
					v = strings.Repeat(letter(k), largeBytes)
				}
				_ = ns.Set(write, "k", v)
			}
		})
	}
	defer wg.Wait()
	defer stop()
	return poll(ctx, func() (bool, error) {
		time.Sleep(200 * time.Millisecond)
		l := x.c.leader(ctx)
		if l == nil {
			return false, nil
		}
		i, err := x.c.info(ctx, l, false)
		return err == nil && i.Applied >= until, nil
	})
}
