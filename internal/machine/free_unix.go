//go:build linux || darwin

package machine

import "golang.org/x/sys/unix"

// Free is the number of free bytes, for the caller, on the disk of path.
func Free(path string) (uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return 0, err
	}
	return fs.Bavail * uint64(fs.Bsize), nil
}
