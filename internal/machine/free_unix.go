//go:build linux || darwin

package machine

import "golang.org/x/sys/unix"

// Free is how many bytes of the disk that path is on are free for the caller.
func Free(path string) (uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return 0, err
	}
	return fs.Bavail * uint64(fs.Bsize), nil
}
