package main

import (
	"fmt"
	"os"
	"slices"
	"testing"
)

// testFolder is for what all tests share.
var testFolder string

// The test plays the program's other roles, as the program does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == elderRole {
		os.Exit(playElder())
	}
	if len(os.Args) > 1 && slices.ContainsFunc(roles(), func(r role) bool { return r.name == os.Args[1] }) {
		main()
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	var err error
	if testFolder, err = os.MkdirTemp("", "latchkey-bench-test-"); err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(testFolder)
	return m.Run()
}
