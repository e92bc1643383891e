package console

import (
	"net/http"
	"slices"
	"strings"

	"example.com/atm"
	"example.com/atm/console/internal/forms"
)

// The methods that a page takes.
const (
	reads = "GET, HEAD"
	acts  = "POST"
)

// A route leads from a path to what serves it.
type route struct {
	path    string // after the prefix; * stands for one part of it, which becomes visit.name
	methods string
	serve   func(*visit)
}

// routes returns all pages, the most exact paths first.
func routes() []route {
	all := []route{
		{"", reads, showHome},
		{"account", reads, findAccount},
		{"log.vkey", reads, sendLogKey},
		{"verify.html", reads, sendOffline},
		{"me", reads, me},
		{"me/passkeys", acts, addPasskey},
		{"me/sign-out", acts, signOut},
		{"desk", reads, showDesk},
		{"admin", reads, showAdmin},
		{"admin/status", reads, showStatus},
		{"log", reads, showLog},
		{"log/rows", reads, sendRows},
		{"log/export", reads, exportLog},
		{"log/proven", reads, saveProvenLog},
		{"log/reconcile", reads, showReconcile},
		{"log/verify", reads, verifyLog},
		{"log/*", reads, named(showEntry)},
		{"accounts/*", reads, named(showAccount)},
		{"accounts/*/review", reads, named(showReview)},
		{"accounts/*/act", acts, named(act)},
		{"accounts/*/statement", reads, named(showStatement)},
		{"accounts/*/statement.csv", reads, named(saveStatement)},
		{"accounts/*/statement.json", reads, named(saveProvenStatement)},
		{"slips/*", reads, named(showSlip)},
		{"slips/*/file", reads, named(saveSlip)},
		{"slips/*/proof", reads, named(sendProof)},
		{forms.ToSubscription + "*", reads, named(showSubscription)},
	}
	for i := range forms.Lists {
		l := &forms.Lists[i]
		all = append(all, route{l.Path, reads, func(v *visit) { showList(v, l) }})
	}
	for i := range forms.Actions {
		a := &forms.Actions[i]
		all = append(all, route{a.Path, reads + ", " + acts, func(v *visit) {
			if v.r.Method == http.MethodPost {
				carryOut(v, a)
			} else {
				showForm(v, a)
			}
		}})
	}
	return all
}

// named serves a page about what the path names.
func named(serve func(*visit, string)) func(*visit) {
	return func(v *visit) { serve(v, v.name) }
}

// match reports whether a path is one of the route, and returns the part that * stands for.
func (r *route) match(path string) (name string, ok bool) {
	before, after, wild := strings.Cut(r.path, "*")
	if !wild {
		return "", path == r.path
	}
	name, ok = strings.CutPrefix(path, before)
	if ok {
		name, ok = strings.CutSuffix(name, after)
	}
	return name, ok && name != "" && !strings.Contains(name, "/")
}

// ServeCall answers a request of a caller.
func (c *Console) ServeCall(w http.ResponseWriter, r *http.Request, caller *atm.Caller) {
	protect(w.Header())
	v := &visit{Console: c, w: w, r: r, caller: caller}
	path, ok := strings.CutPrefix(r.URL.Path, Prefix)
	if !ok {
		http.Redirect(w, r, Prefix, http.StatusSeeOther)
		return
	}
	for i := range c.routes {
		page := &c.routes[i]
		if v.name, ok = page.match(path); !ok {
			continue
		}
		if !slices.Contains(strings.Split(page.methods, ", "), r.Method) {
			w.Header().Set("Allow", page.methods)
			v.refuse(http.StatusMethodNotAllowed, "This page does not take "+r.Method+".")
			return
		}
		page.serve(v)
		return
	}
	v.refuse(http.StatusNotFound, "There is no such page.")
}

// A link leads to a page from the menu of those who may use it.
type link struct {
	Label string
	Path  string
	op    atm.Operation // that the page needs
	least atm.Reach     // on which accounts, at least
}

// menuPages are those in the menu.
var menuPages = []link{
	{"Desk", "desk", atm.Deposit, atm.Everywhere},
	{"Holds", "holds", atm.HoldList, atm.Owned},
	{"Grants", "grants", atm.GrantList, atm.Owned},
	{"Feed", "feed", atm.FeedAdd, atm.Owned},
	{"Admin", "admin", atm.UserList, atm.Everywhere},
	{"Status", "admin/status", atm.ServerStatus, atm.Everywhere},
	{"Log", "log", atm.AuditList, atm.Everywhere},
	{"Verify", "log/verify", atm.AuditRead, atm.Everywhere},
	{"Reconcile", "log/reconcile", atm.AuditBalances, atm.Everywhere},
}

// menu returns the pages that the caller may use.
func menu(v *visit) (links []link) {
	for _, l := range menuPages {
		if v.cfg.Bank.Reach(v.caller, l.op) >= l.least {
			links = append(links, link{Label: l.Label, Path: Prefix + l.Path})
		}
	}
	return links
}
