//go:build !linux && !darwin

package machine

// Free returns ErrNoServer: no server runs on this system.
func Free(string) (uint64, error) { return 0, ErrNoServer }
