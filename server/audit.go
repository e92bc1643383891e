package server

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"example.com/atm/audit/remote"
)

// logPath matches the files of a published log (C2SP tlog-tiles) and its key. No other file in
// the folder is served.
var logPath = regexp.MustCompile(
	`^(checkpoint(\.witnessed)?|log\.vkey|tile/(entries|[0-9]{1,2})/(x[0-9]{3}/)*[0-9]{3}(\.p/[0-9]{1,3})?)$`)

// serveAudit serves the published log to auditors.
func (s *Server) serveAudit(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "The audit log is only read.", http.StatusMethodNotAllowed)
		return
	}
	caller := s.senders.signInBrowser(w, r) // whose scripts verify it
	if caller == nil {
		return
	}
	s.cfg.Teller.AuditRead(r.Context(), caller)
	if !s.cfg.Teller.MayReadAudit(caller) {
		http.Error(w, "The audit log is for auditors.", http.StatusForbidden)
		return
	}
	if r.URL.Path == "/audit/checkpoint" {
		s.cfg.Seen()
	}
	s.audit.ServeHTTP(w, r)
}

// maxTileBytes is the size of a complete bundle of the longest entries.
const maxTileBytes = merkle.TileWidth * (2 + audit.MaxEntryBytes)

// serveArchived serves a tile that is not in the folder of the log.
func serveArchived(w http.ResponseWriter, r *http.Request, log audit.Files, name string) {
	data, err := log.ReadFile(r.Context(), name, maxTileBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "There is no such file in the log.", http.StatusNotFound)
	case err != nil: // what there was no time for must not seem to be missing
		w.Header().Set(remote.ArchiveHeader, remote.Unreachable)
		http.Error(w, "This part of the log is in an archive that cannot be reached at the "+
			"moment.", http.StatusServiceUnavailable)
	default:
		setTile(w.Header())
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}

// setTile sets the headers of a tile, which never changes after it is written.
func setTile(h http.Header) {
	h.Set("Cache-Control", "private, max-age=31536000, immutable")
	h.Set("Content-Type", "application/octet-stream")
}

// LogFiles serves the published log in dir: the files of C2SP tlog-tiles and the key, and nothing
// else. log is the same with its archive; nil for none.
func LogFiles(dir string, log audit.Files) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		if !logPath.MatchString(name) {
			http.Error(w, "There is no such file in the log.", http.StatusNotFound)
			return
		}
		root, err := os.OpenRoot(dir) // symbolic links cannot leave the folder
		if err != nil {
			http.Error(w, "The log cannot be read at the moment.", http.StatusServiceUnavailable)
			return
		}
		defer root.Close()
		f, err := root.Open(name)
		if errors.Is(err, fs.ErrNotExist) && log != nil && isTile(name) {
			serveArchived(w, r, log, name)
			return
		}
		if err != nil {
			http.Error(w, "There is no such file in the log.", http.StatusNotFound)
			return
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil || !info.Mode().IsRegular() {
			http.Error(w, "There is no such file in the log.", http.StatusNotFound)
			return
		}
		if isTile(name) {
			setTile(w.Header())
		} else { // the checkpoint changes often
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		}
		http.ServeContent(w, r, "", info.ModTime(), f)
	})
}

func isTile(name string) bool { return strings.HasPrefix(name, "tile/") }
