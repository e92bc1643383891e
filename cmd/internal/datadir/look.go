package datadir

import (
	"fmt"
	"os"
	"path/filepath"
)

// Look reads what the folder at root is. It neither changes nor locks it. complete is false
// for a folder whose init was interrupted.
func Look(root string) (d *Dir, complete bool, err error) {
	d = At(filepath.Clean(root))
	names, err := os.ReadDir(d.Root)
	if err != nil {
		return nil, false, err
	}
	for _, e := range names {
		switch e.Name() {
		case configFile:
			return d, true, d.decode(configFile)
		case initFile:
			return d, false, d.decode(initFile)
		}
	}
	return nil, false, fmt.Errorf("%s is no data folder: it has no %s", d.Root, configFile)
}

// Lock locks a folder that Look found. It reports ErrInUse when another process has it.
func (d *Dir) Lock() error { return d.acquire() }

// Missing names the files that a complete folder must have and this one has not.
func (d *Dir) Missing() (files []string) {
	for _, file := range d.required() {
		if !Exists(file) {
			files = append(files, file)
		}
	}
	return files
}
