package console

import (
	"net/http"
	"net/url"
	"strconv"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/console/internal/draw"
	"example.com/atm/console/internal/statement"
)

// verifyLog is the page on which a browser verifies the whole log.
func verifyLog(v *visit) {
	if !v.cfg.Bank.MayReadAudit(v.caller) {
		v.refuse(http.StatusForbidden, "The audit log is for auditors.")
		return
	}
	v.show(http.StatusOK, "verify.html", "Verify the audit log", "atmctl audit verify",
		nil)
}

// An entryPage shows one entry: as an auditor's entry, or as the slip of the person it is of.
type entryPage struct {
	row
	Entry *audit.Entry
	Hash  string     // of the leaf, in base64
	Proof string     // that it is in the log; empty while it is not published
	Path  *draw.Path // to the root; nil while there is no proof
	Again bool       // it was asked for again
	Undo  string     // URL of the form that gives back what it moved; empty for none

	UndoLabel string // what a link to it says
}

// showEntry shows an entry to an auditor.
func showEntry(v *visit, index string) {
	if !v.cfg.Bank.MayReadAudit(v.caller) {
		v.refuse(http.StatusForbidden, "The audit log is for auditors.")
		return
	}
	page, ok := readEntry(v, index)
	if !ok {
		return
	}
	v.show(http.StatusOK, "entry.html", "Entry "+index, "atmctl audit show "+index, page)
}

// showSlip shows a person what became of an act, with the proof that it is in the log.
func showSlip(v *visit, index string) {
	page, ok := readEntry(v, index)
	if !ok {
		return
	}
	page.Again = v.r.URL.Query().Get("again") != ""
	v.show(http.StatusOK, "entry.html", "Slip "+index, "atmclient SERVER PORT receipt "+index, page)
}

// readEntry reads an entry and the proof that it is in the log, or shows why it cannot.
func readEntry(v *visit, written string) (page entryPage, ok bool) {
	index, err := strconv.ParseInt(written, 10, 64)
	if err != nil || index < 0 {
		v.refuse(http.StatusNotFound, "There is no such entry.")
		return page, false
	}
	slip, err := v.cfg.Bank.Slip(v.r.Context(), v.caller, index)
	if err != nil {
		v.refuse(http.StatusServiceUnavailable, "The entry cannot be read at the moment.")
		return page, false
	}
	if slip == nil {
		v.refuse(http.StatusNotFound, "There is no such entry.")
		return page, false
	}
	page = entryPage{
		row: newRow(index, slip.Leaf, slip.Entry), Entry: slip.Entry, Hash: slip.Hash.String(),
	}
	page.Undo, page.UndoLabel = v.undo(index, slip.Entry)
	status, ok := v.do(atm.Receipt, text(written))
	if ok && status.Code == atm.OK {
		page.Proof, _ = status.Result.(string)
		page.Path = draw.PathOf(page.Proof, index)
	}
	return page, ok
}

// undo leads to the form that gives back what an entry moved, where the caller may do that: a
// teller with any movement, and its receiver with a payment.
func (v *visit) undo(index int64, e *audit.Entry) (path, label string) {
	if e.ReplayOf >= 0 || e.Status == nil || e.Status.Code != atm.OK || !v.may(atm.Reverse) {
		return "", ""
	}
	everything := v.cfg.Bank.Reach(v.caller, atm.Reverse) == atm.Everywhere
	for _, c := range e.State {
		m := statement.Movement{Operation: string(e.Operation), Amount: c.After - c.Before}
		if m.Left(everything) > 0 {
			return undoLink(everything, url.Values{"index": {strconv.FormatInt(index, 10)}})
		}
	}
	return "", ""
}

// sendProof answers with the proof of an entry alone, for a page that was made before the entry was
// published.
func sendProof(v *visit, index string) {
	status, ok := v.do(atm.Receipt, text(index))
	if !ok {
		return
	}
	if status.Code != atm.OK {
		v.refuse(statusOf(status.Code), status.Reason+".")
		return
	}
	written, _ := status.Result.(string)
	v.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	v.w.Write([]byte(written))
}
