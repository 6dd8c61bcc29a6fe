package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// What is known of processes comes from /proc: proc(5).

// ticksPerSecond is USER_HZ, in which the kernel tells processor time to programs; it is 100 on every architecture of Linux
// that Go knows.
const ticksPerSecond = 100

// A process is one line of /proc/PID/stat.
type process struct {
	pid, parent int
	began       string  // in ticks since boot: with the pid it names the process for good
	cpu         float64 // seconds, user and system, its own and of the children that it has waited for
}

var errOddStat = errors.New("odd line in /proc/PID/stat")

func readProcess(pid int) (process, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	return parseStat(text)
}

// parseStat: the second field is a name in brackets, which may hold blanks and brackets itself.
func parseStat(text []byte) (process, error) {
	first, _, _ := bytes.Cut(text, []byte(" "))
	pid, err := strconv.Atoi(string(first))
	end := bytes.LastIndexByte(text, ')')
	if err != nil || end < 0 {
		return process{}, errOddStat
	}
	const stateIs = 3 // the number in proc(5) of the first field behind the name
	fields := strings.Fields(string(text[end+1:]))
	if len(fields) < 22-stateIs+1 {
		return process{}, errOddStat
	}
	p := process{pid: pid, began: fields[22-stateIs]}
	if p.parent, err = strconv.Atoi(fields[4-stateIs]); err != nil {
		return process{}, errOddStat
	}
	for n := 14; n <= 17; n++ { // utime, stime, cutime, cstime
		ticks, err := strconv.ParseFloat(fields[n-stateIs], 64)
		if err != nil {
			return process{}, errOddStat
		}
		p.cpu += ticks / ticksPerSecond
	}
	return p, nil
}

// tree answers the processes roots and everything below them that lives.
func tree(roots []int) []process {
	all := map[int]process{}
	below := map[int][]int{}
	folders, _ := filepath.Glob("/proc/[0-9]*") // only a bad pattern is an error
	for _, folder := range folders {
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			continue
		}
		if p, err := readProcess(pid); err == nil { // else it has ended
			all[p.pid] = p
			below[p.parent] = append(below[p.parent], p.pid)
		}
	}
	var found []process
	for todo := slices.Clone(roots); len(todo) > 0; todo = todo[1:] {
		if p, ok := all[todo[0]]; ok {
			found = append(found, p)
			delete(all, p.pid)
			todo = append(todo, below[p.pid]...)
		}
	}
	return found
}

func cpuOf(roots []int) (seconds float64) {
	for _, p := range tree(roots) {
		seconds += p.cpu
	}
	return seconds
}

// proportional is the PSS of a tree in octets: what is shared is shared out.
func proportional(roots []int) (int64, error) { return sumOf(roots, "smaps_rollup", "Pss:") }

// peak is the largest RSS of a tree so far, in octets, as if all its processes had been largest at the same time.
func peak(roots []int) (int64, error) { return sumOf(roots, "status", "VmHWM:") }

var errNoMemory = errors.New("no memory could be read: of other users' processes only root may")

func sumOf(roots []int, file, field string) (int64, error) {
	var sum int64
	for _, p := range tree(roots) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.pid, file))
		if errors.Is(err, os.ErrNotExist) {
			continue // it has ended
		}
		kib, ok := fieldOf(string(text), field)
		if err != nil || !ok {
			return 0, fmt.Errorf("%s of %d: %w", file, p.pid, errors.Join(errNoMemory, err))
		}
		sum += kib << 10
	}
	if sum == 0 {
		return 0, errNoMemory
	}
	return sum, nil
}

// fieldOf answers the number behind a word at the beginning of a line.
func fieldOf(text, word string) (int64, bool) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == word {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// busy is the time in seconds that all processors were not idle. What is left of it without the processes that we know is
// other work on the machine.
func busy() float64 {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var ticks float64
	for i, f := range strings.Fields(line) {
		switch i {
		case 1, 2, 3, 6, 7, 8: // user, nice, system, irq, softirq, steal
			n, _ := strconv.ParseFloat(f, 64)
			ticks += n
		}
	}
	return ticks / ticksPerSecond
}
