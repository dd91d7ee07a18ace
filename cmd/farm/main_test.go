package main

import (
	"os"
	"testing"

	"farm/worker"
)

// farmEnv makes the test binary behave as farm, so that tests can start real
// nodes without building anything.
const farmEnv = "FARM_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	worker.Child()
	if addr := os.Getenv(handlersEnv); addr != "" {
		serveHandlers(addr)
	}
	if os.Getenv(farmEnv) != "" {
		main()
	}
	os.Exit(m.Run())
}
