// Command filters compiles gVisor's seccomp filters, so that runsc need not do it whenever a sandbox starts.
//
// gVisor's own releases hold them compiled. Its Go module holds an empty list in their place, and a runsc that is built
// from it spends half of a start on them. `go run ./filters` fills both lists of the vendored copy of gVisor.
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"gvisor.dev/gvisor/pkg/seccomp/precompiledseccomp"
	sentry "gvisor.dev/gvisor/runsc/boot/filter/config"
	gofer "gvisor.dev/gvisor/runsc/fsgofer/filter/config"
)

const (
	empty    = "\tprograms := make(map[string]precompiledseccomp.Program)\n"
	disabled = "PrecompilationDisabledAtBuildTime = true"
	enabled  = "PrecompilationDisabledAtBuildTime = false"
)

// Devices that are passed through to a sandbox. No sandbox here gets one, and their filters are most of the list.
var unused = []string{"NVProxy=true", "TPUProxy=true", "RDMAProxy=true"}

func main() {
	for name, compile := range map[string]func() ([]precompiledseccomp.Program, error){
		"boot":    sentry.PrecompiledPrograms,
		"fsgofer": gofer.PrecompiledPrograms,
	} {
		programs, err := compile()
		if err != nil {
			log.Fatalf("%s: %v", name, err)
		}
		path := filepath.Join("vendor/gvisor.dev/gvisor/runsc", name, "filter/filter_precompiled.go")
		if err := fill(path, programs); err != nil {
			log.Fatal(err)
		}
	}
}

// fill writes the programs into the empty list of a file.
func fill(path string, programs []precompiledseccomp.Program) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !bytes.Contains(text, []byte(empty)) || !bytes.Contains(text, []byte(disabled)) {
		return fmt.Errorf("%s is not the empty list that it was", path)
	}
	var list strings.Builder
	list.WriteString(empty)
	count := 0
	for _, program := range programs {
		if !isUnused(program.Name) {
			list.WriteString(program.Registration("\t", "precompiledseccomp", "programs"))
			count++
		}
	}
	fmt.Printf("%s: %d of %d filters\n", path, count, len(programs))
	text = bytes.Replace(text, []byte(empty), []byte(list.String()), 1)
	text = bytes.Replace(text, []byte(disabled), []byte(enabled), 1)
	return os.WriteFile(path, text, 0o644)
}

func isUnused(name string) bool {
	for _, option := range unused {
		if strings.Contains(name, option) {
			return true
		}
	}
	return false
}
