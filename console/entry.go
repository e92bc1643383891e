package console

import (
	"net/http"
	"strconv"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/console/internal/draw"
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
	status, ok := v.do(atm.Receipt, text(written))
	if ok && status.Code == atm.OK {
		page.Proof, _ = status.Result.(string)
		page.Path = draw.PathOf(page.Proof, index)
	}
	return page, ok
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
