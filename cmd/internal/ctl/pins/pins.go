// Package pins keeps the checkpoints of audit logs that a person has verified, in the person's
// settings folder, so that a later verification notices a log that lost or rewrote entries.
package pins

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.com/atm/audit"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
)

// Folder is the folder with the pins.
func Folder() (string, error) {
	config, err := os.UserConfigDir()
	return filepath.Join(config, "atm", "checkpoints"), err
}

// FileName is the name of a file or folder for what is kept of a log. The origin may be what a
// stranger calls a log, so it leads to no other folder.
func FileName(origin string) string {
	if origin == "." || origin == ".." { // which url.PathEscape leaves as they are
		return strings.ReplaceAll(origin, ".", "%2E")
	}
	return url.PathEscape(origin)
}

// Path is the file of the pin of a log.
func Path(origin string) (string, error) {
	dir, err := Folder()
	return filepath.Join(dir, FileName(origin)), err
}

// PathOf is the file of the pin of the log in files, or "" if it has none.
func PathOf(ctx context.Context, files audit.Files) string {
	_, c, err := audit.ReadCheckpoint(ctx, files)
	if err != nil {
		return ""
	}
	path, err := Path(c.Origin)
	if err != nil {
		return ""
	}
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// A Pin is a checkpoint that a person has verified, in the form of a listing.
type Pin struct {
	Origin string   `json:"origin"`
	Size   int64    `json:"size"`
	Root   string   `json:"root"`
	Keys   []string `json:"keys"` // empty if an early version wrote the pin
	Saved  string   `json:"saved"`
	File   string   `json:"file"`

	Text string `json:"-"` // content of the file
}

// Read reads a pin from its file.
func Read(path string) (Pin, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Pin{}, err
	}
	text, err := ctl.ReadNamed(path)
	if err != nil {
		return Pin{}, err
	}
	pin, err := audit.ParsePin(text)
	if err != nil {
		return Pin{}, fmt.Errorf("%s: %w", path, err)
	}
	return Pin{
		Origin: pin.Origin, Size: pin.Size, Root: pin.Root.String(),
		Keys:  append([]string{}, pin.Keys...),
		Saved: info.ModTime().UTC().Format(time.RFC3339),
		File:  path, Text: string(text),
	}, nil
}

// Find returns the pin of a log, or an error if it has none.
func Find(origin string) (Pin, error) {
	path, err := Path(origin)
	if err != nil {
		return Pin{}, err
	}
	pin, err := Read(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && pin.Origin != origin {
		err = fmt.Errorf("no checkpoint of %q is pinned: see \"atmctl audit checkpoint list\"",
			origin)
		return pin, &exit.Error{Code: exit.Refused, Err: err}
	}
	return pin, err
}
