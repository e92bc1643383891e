package console

import (
	"net/http"
	"net/url"

	"example.com/atm"
	"example.com/atm/console/internal/facts"
	"example.com/atm/console/internal/forms"
	"example.com/atm/console/internal/words"
)

type feedPage struct {
	Acts     []link
	Test     *facts.Test
	Again    string // link to the page itself
	Sections []facts.Section
}

// showSubscription shows a subscription of the caller, or to an operator one of the owner in the
// query.
func showSubscription(v *visit, name string) {
	l, args, same := &forms.Feed, []atm.Arg{text(name)}, []string{"atmctl", "feed", "show", name}
	if owner := v.r.URL.Query().Get("owner"); owner != "" {
		l, args = &forms.AllFeeds, append(args, text(owner))
		same = append(same, "--owner", owner)
	}
	status, ok := v.do(atm.FeedShow, args...)
	if !ok {
		return
	}
	if status.Code != atm.OK {
		v.refuse(statusOf(status.Code), words.Sentence(status.Reason))
		return
	}
	record, _ := status.Result.(atm.Record)
	v.show(http.StatusOK, "feed.html", "Subscription "+name, forms.CommandLine(same...), feedPage{
		Acts: rowActs(v, l, record, nil), Test: facts.TestOf(record), Again: v.r.URL.RequestURI(),
		Sections: facts.OfSubscription(record),
	})
}

// ownFields are the fields of an action. A caller who may name accounts of their own alone chooses
// among them, unless there are too many.
func ownFields(v *visit, a *forms.Action) []forms.Field {
	if !a.Chooses() || v.cfg.Bank.Reach(v.caller, a.Op) != atm.Owned {
		return a.Fields
	}
	accounts, more, err := v.cfg.Bank.Owned(v.r.Context(), v.caller)
	if err != nil || more {
		accounts = nil // the number is typed
	}
	return a.Among(accounts)
}

// toSubscription is the page of the subscription that a form is about.
func toSubscription(v *visit) string {
	return Prefix + forms.ToSubscription + url.PathEscape(v.r.FormValue("name"))
}
