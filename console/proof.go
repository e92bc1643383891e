package console

import (
	"net/http"

	"example.com/atm"
	"example.com/atm/console/internal/forms"
)

type reconcilePage struct {
	Size, Accounts int64
	Hash           string
	Replaced       bool // the log took the place of another one
}

// showReconcile shows the hash of all balances, which the browser compares with those that follow
// from the log.
func showReconcile(v *visit) {
	status, problem, ok := v.try(atm.AuditBalances, "")
	if !ok {
		return
	}
	if problem != "" {
		v.refuse(statusOf(status.Code), problem)
		return
	}
	record, _ := status.Result.(atm.Record)
	page := reconcilePage{Hash: forms.Plain(record.Get("hash")).Text}
	page.Size, _ = record.Get("size").(int64)
	page.Accounts, _ = record.Get("accounts").(int64)
	logs, _ := record.Get("logs").(int64)
	page.Replaced = logs != 1
	v.show(http.StatusOK, "reconcile.html", "Reconcile", "atmctl audit reconcile", page)
}
