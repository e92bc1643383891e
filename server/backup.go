package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"example.com/atm"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/teller"
	"example.com/atm/xmlrpc"
)

// serveBackup sends a backup to an operator as a tar archive: of everything, or of what came after
// an earlier backup, whose checkpoint is the body. An interrupted archive lacks its end, so it
// cannot be mistaken for a complete one.
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
	since, err := io.ReadAll(http.MaxBytesReader(w, r.Body, checkpoint.MaxBytes))
	if err != nil {
		xmlrpc.Decline(w, http.StatusBadRequest, "The body is the checkpoint of an earlier "+
			"backup, or empty.")
		return
	}
	if caller = s.senders.again(w, r, caller); caller == nil {
		return
	}
	var write func(context.Context, io.Writer) error
	status := s.cfg.Teller.Backup(r.Context(), caller, func(ctx context.Context) (err error) {
		if write, err = s.cfg.Backup(ctx, since); err != nil && !errors.Is(err, teller.ErrNoBase) {
			s.cfg.Log.ErrorContext(ctx, "preparing a backup", slog.Any("error", err))
		}
		return err
	})
	switch status.Code {
	case atm.OK:
	case atm.PermissionDenied:
		xmlrpc.Decline(w, http.StatusForbidden, "Backups are for operators.")
		return
	case atm.Fault:
		xmlrpc.Decline(w, http.StatusConflict, status.Reason)
		return
	default:
		xmlrpc.Decline(w, http.StatusServiceUnavailable, "The server cannot make a backup at the "+
			"moment.")
		return
	}
	w.Header().Set("Content-Type", "application/x-tar")
	if err := write(r.Context(), &patient{w, http.NewResponseController(w)}); err != nil {
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
