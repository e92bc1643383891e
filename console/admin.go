package console

import (
	"net/http"
	"strings"

	"example.com/atm"
	"example.com/atm/console/internal/facts"
	"example.com/atm/console/internal/forms"
	"example.com/atm/console/internal/words"
)

// showAdmin leads to the work of an operator.
func showAdmin(v *visit) {
	type group struct {
		link
		Acts []link
	}
	var groups []group
	for i := range forms.Lists {
		l := &forms.Lists[i]
		if strings.HasPrefix(l.Path, "admin/") && v.cfg.Bank.Reach(v.caller, l.Op) == atm.Everywhere {
			groups = append(groups, group{
				link{Label: l.Title, Path: Prefix + l.Path}, offered(v, l.Above, ""),
			})
		}
	}
	if groups == nil {
		v.refuse(http.StatusForbidden, mayNot)
		return
	}
	v.show(http.StatusOK, "admin.html", "Administration", "atmctl --help", groups)
}

// mayNot is what an operation says to a caller who may not do it.
const mayNot = "You may not do this."

// showStatus shows the state of the server, as atmctl status does.
func showStatus(v *visit) {
	status, ok := v.do(atm.ServerStatus)
	if !ok {
		return
	}
	if status.Code != atm.OK {
		v.refuse(statusOf(status.Code), words.Sentence(status.Reason))
		return
	}
	record, _ := status.Result.(atm.Record)
	v.show(http.StatusOK, "status.html", "Status", "atmctl status", facts.OfServer(record))
}
