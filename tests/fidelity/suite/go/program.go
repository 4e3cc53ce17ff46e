// Runs the tests of one package of Go's standard library, PACKAGE, in the package's folder, as `go test` does. Writes a
// line for each test into artifacts/outcomes.txt, and exits with the tests' exit status.
package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

var outcome = regexp.MustCompile(`--- (PASS|FAIL|SKIP): (\S+) \(`)

// Of the packages runtime and time: each takes a third of its package's minute.
const tooSlow = "^(TestStackGrowth|TestLongAdjustTimers)$"

func lines(printed []byte) []string {
	var found []string
	for _, match := range outcome.FindAllSubmatch(printed, -1) {
		found = append(found, string(match[2])+" "+string(match[1]))
	}
	slices.Sort(found)
	return found
}

func exitStatus(state *os.ProcessState) int {
	if status := state.Sys().(syscall.WaitStatus); status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

func main() {
	var printed bytes.Buffer
	tests := exec.Command("/opt/suite/bin/PACKAGE.test", "-test.v", "-test.short", "-test.timeout=55s",
		"-test.skip="+tooSlow)
	tests.Dir = "/opt/suite/src/PACKAGE"
	// With this variable, tests that run the go command are skipped: each would compile the library first.
	tests.Env = append(os.Environ(), "GO_GCFLAGS=-e")
	tests.Stdin, tests.Stdout, tests.Stderr = os.Stdin, io.MultiWriter(&printed, os.Stdout), os.Stderr
	// A group of their own, as a shell gives it: gVisor hangs up a session's leader that has a stopped child (SIGHUP).
	tests.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	tests.WaitDelay = time.Second // for children of the tests that keep the pipe open
	if err := tests.Run(); tests.ProcessState == nil {
		panic(err)
	}
	text := strings.Join(append(lines(printed.Bytes()), ""), "\n")
	if err := os.WriteFile("artifacts/outcomes.txt", []byte(text), 0o644); err != nil {
		panic(err)
	}
	os.Exit(exitStatus(tests.ProcessState))
}
