//go:build unix && !race

package daemontest

const raced = false
