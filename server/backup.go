package server

import (
	"log/slog"
	"net/http"
	"time"

	"example.com/atm"
	"example.com/atm/xmlrpc"
)

// serveBackup sends a backup to an operator as a tar archive. An interrupted archive lacks its
// end, so it cannot be mistaken for a complete one.
func (s *Server) serveBackup(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		xmlrpc.Decline(w, http.StatusMethodNotAllowed, "A backup is asked for with POST.")
		return
	}
	if s.senders.crossSite(w, r) {
		return
	}
	caller := s.senders.signIn(w, r)
	if caller == nil {
		return
	}
	switch status := s.cfg.Teller.Backup(r.Context(), caller); status.Code {
	case atm.OK:
	case atm.PermissionDenied:
		xmlrpc.Decline(w, http.StatusForbidden, "Backups are for operators.")
		return
	default:
		xmlrpc.Decline(w, http.StatusServiceUnavailable, "The server cannot make a backup at the "+
			"moment.")
		return
	}
	w.Header().Set("Content-Type", "application/x-tar")
	if err := s.cfg.Backup(r.Context(), &patient{w, http.NewResponseController(w)}); err != nil {
		s.cfg.Log.ErrorContext(r.Context(), "a backup was broken off", slog.Any("error", err))
		panic(http.ErrAbortHandler) // so that the client notices the missing end
	}
}

// patient is a response writer without a deadline for the whole answer: each write gets a new
// one.
type patient struct {
	w          http.ResponseWriter
	controller *http.ResponseController
}

// Write implements io.Writer.
func (p *patient) Write(b []byte) (int, error) {
	if err := p.controller.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return p.w.Write(b)
}
