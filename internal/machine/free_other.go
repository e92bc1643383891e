//go:build !linux && !darwin

package machine

// Free is not known where no server runs.
func Free(string) (uint64, error) { return 0, ErrNoServer }
