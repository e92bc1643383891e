//go:build race

package cmd_test

// raceEnabled reports that the tests run with the race detector; the programs
// are built with it then.
const raceEnabled = true
