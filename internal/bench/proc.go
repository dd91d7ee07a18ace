package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is the unit of times in /proc, the same on every Linux that Go
// runs on.
const ticksPerSecond = 100

// memoryEvery is how often memory is looked at.
const memoryEvery = 500 * time.Millisecond

// processes are the nodes and all that they start.
type processes struct {
	nodes   []int
	ended   chan struct{}
	sampler sync.WaitGroup

	mu   sync.Mutex
	peak Memory
}

func watchProcesses(nodes []int) *processes {
	p := &processes{nodes: nodes, ended: make(chan struct{})}
	p.sampler.Go(func() {
		tick := time.NewTicker(memoryEvery)
		defer tick.Stop()
		for {
			p.sample()
			select {
			case <-tick.C:
			case <-p.ended:
				return
			}
		}
	})
	return p
}

func (p *processes) stop() {
	close(p.ended)
	p.sampler.Wait()
}

// procStat is what /proc says of a process.
type procStat struct {
	parent int
	cpu    time.Duration // its own and that of children it has waited for
	rss    int64         // bytes
}

// readStats reads all processes there are. It runs while the farm is measured, on the
// same processors, so it lists /proc once and reads each file with one call.
func readStats() map[int]procStat {
	out := map[int]procStat{}
	dir, err := os.Open("/proc")
	if err != nil {
		return out
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	buf := make([]byte, maxStat)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue // no process
		}
		if st, err := parseStat(readStat(name, buf)); err == nil {
			out[pid] = st
		}
	}
	return out
}

// maxStat is more than /proc/PID/stat can have: some 50 numbers and a short name.
const maxStat = 2048

// readStat reads a process's stat into buf; empty: it has ended.
func readStat(pid string, buf []byte) []byte {
	fd, err := unix.Open("/proc/"+pid+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	n, _ := unix.Read(fd, buf)
	_ = unix.Close(fd)
	return buf[:max(n, 0)]
}

// parseStat reads /proc/PID/stat. The name, in parentheses, may hold anything.
func parseStat(b []byte) (st procStat, err error) {
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	const ppid, utime, stime, cutime, cstime, rss = 1, 11, 12, 13, 14, 21
	if len(fields) <= rss {
		return st, fmt.Errorf("stat has %d fields", len(fields))
	}
	var ticks int64
	for _, i := range []int{utime, stime, cutime, cstime} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return st, err
		}
		ticks += n
	}
	st.cpu = time.Duration(ticks) * time.Second / ticksPerSecond
	pages, err := strconv.ParseInt(fields[rss], 10, 64)
	if err != nil {
		return st, err
	}
	st.rss = pages * int64(os.Getpagesize())
	st.parent, err = strconv.Atoi(fields[ppid])
	return st, err
}

// descendants are the processes below roots, roots left out.
func descendants(all map[int]procStat, roots []int) []int {
	var out []int
	for pid := range all {
		for up := all[pid].parent; up > 1; up = all[up].parent {
			if slices.Contains(roots, up) {
				out = append(out, pid)
				break
			}
			if _, ok := all[up]; !ok {
				break
			}
		}
	}
	return out
}

// cpu is the time that nodes and their children have used so far.
func (p *processes) cpu() time.Duration {
	all := readStats()
	var sum time.Duration
	for _, pid := range append(descendants(all, p.nodes), p.nodes...) {
		sum += all[pid].cpu
	}
	return sum
}

func (p *processes) sample() {
	all := readStats()
	var node, children int64
	for _, pid := range p.nodes {
		node = max(node, all[pid].rss)
	}
	for _, pid := range descendants(all, p.nodes) {
		children += all[pid].rss
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peak.Node = max(p.peak.Node, node)
	p.peak.Children = max(p.peak.Children, children)
}

func (p *processes) peaks() Memory {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.peak
}

// measureFsync appends 4 KiB and makes them durable, over and over.
func measureFsync(ctx context.Context, dir string, d time.Duration) (Fsync, error) {
	f, err := os.CreateTemp(dir, "fsync-")
	if err != nil {
		return Fsync{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	page := make([]byte, 4<<10)
	var took []time.Duration
	begun := time.Now()
	for time.Since(begun) < d && ctx.Err() == nil {
		one := time.Now()
		if _, err := f.Write(page); err != nil {
			return Fsync{}, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return Fsync{}, err
		}
		took = append(took, time.Since(one))
	}
	if ctx.Err() != nil {
		return Fsync{}, context.Cause(ctx)
	}
	rate := float64(len(took)) / time.Since(begun).Seconds()
	slices.Sort(took)
	return Fsync{PerSecond: rate, P50: ms(took[len(took)/2]), P99: ms(took[len(took)*99/100])}, nil
}
