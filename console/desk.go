package console

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/console/internal/forms"
	"example.com/atm/teller/lookup"
	"example.com/atm/teller/reader"
)

type deskPage struct {
	Find  string // what is looked for
	Found []foundAccount
	More  bool
	Above []link
	Till  *lookup.Till
	Day   string
}

// A foundAccount is an account with what the caller may do to it.
type foundAccount struct {
	reader.Holding
	Acts []link
}

// showDesk finds accounts by number or by holder, and shows what the caller moved today.
func showDesk(v *visit) {
	if v.cfg.Bank.Reach(v.caller, atm.Deposit) != atm.Everywhere {
		v.refuse(http.StatusForbidden, mayNot)
		return
	}
	find := strings.TrimSpace(v.r.URL.Query().Get("find"))
	if _, ok := atm.ParseAccountID(find); ok {
		http.Redirect(v.w, v.r, accountPath+url.PathEscape(find), http.StatusSeeOther)
		return
	}
	midnight := time.Now().UTC().Truncate(24 * time.Hour)
	page := deskPage{
		Find: find, Day: midnight.Format(time.DateOnly),
		Above: offered(v, []string{"notices/leave"}, ""),
	}
	found, more, err := v.cfg.Bank.Find(v.r.Context(), v.caller, find)
	if err == nil {
		page.Till, err = v.cfg.Bank.Till(v.r.Context(), v.caller, midnight)
	}
	if err != nil {
		unreadable(v, err)
		return
	}
	page.More = more
	for _, holding := range found {
		row := atm.Record{
			{Name: "account", Value: holding.Account}, {Name: "standing", Value: holding.Standing},
		}
		page.Found = append(page.Found, foundAccount{
			holding, rowActs(v, &forms.Accounts, row, nil),
		})
	}
	same := []string{"atmclient", "SERVER", "PORT", "inquiry", "ACCOUNT"}
	if find != "" && v.may(atm.AccountList) {
		same = []string{"atmctl", "account", "list", "--owner", find}
	}
	v.show(http.StatusOK, "desk.html", "Desk", forms.CommandLine(same...), page)
}
