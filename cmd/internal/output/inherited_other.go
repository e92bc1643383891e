//go:build !unix

package output

import (
	"errors"
	"os"
)

// inherited reports false, because names of descriptors do not exist on this system.
func inherited(string) (fd int, ok bool) { return 0, false }

func duplicate(int, string) (*os.File, error) { return nil, errors.ErrUnsupported }
