//go:build race

package cmd_test

// raceEnabled reports whether the tests run with the race detector. If so, the server is built
// with it too.
const raceEnabled = true
