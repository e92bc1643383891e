package server

import (
	"net/http"
	"os"
	"regexp"
	"strings"
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

// logFiles serves the log in dir.
func logFiles(dir string) http.Handler {
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
		// A tile never changes after it is written. The checkpoint changes often.
		if strings.HasPrefix(name, "tile/") {
			w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
			w.Header().Set("Content-Type", "application/octet-stream")
		} else {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		}
		http.ServeContent(w, r, "", info.ModTime(), f)
	})
}
