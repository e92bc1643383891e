package datadir

import (
	"fmt"
	"os"
	"path/filepath"
)

// Look reads the configuration of the folder at root. It neither changes nor locks the folder.
// complete is false if its init was interrupted.
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
	return nil, false, fmt.Errorf("%s is not a data folder: it has no %s", d.Root, configFile)
}

// Lock locks a folder that Look found. It returns ErrInUse if another process has locked it.
func (d *Dir) Lock() error { return d.acquire() }

// Missing lists the files that a complete folder must have and this one lacks.
func (d *Dir) Missing() (files []string) {
	for _, file := range d.required() {
		if !Exists(file) {
			files = append(files, file)
		}
	}
	return files
}
