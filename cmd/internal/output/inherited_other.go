//go:build !unix

package output

import (
	"errors"
	"os"
)

// inherited finds nothing: no name stands for a descriptor on this system.
func inherited(string) (fd int, ok bool) { return 0, false }

func duplicate(int, string) (*os.File, error) { return nil, errors.ErrUnsupported }
