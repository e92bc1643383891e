package console

import (
	"net/http"
	"strconv"
	"strings"

	"example.com/atm"
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
		if strings.HasPrefix(l.Path, "admin/") && v.may(l.Op) {
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

// A section is a part of a page with facts.
type section struct {
	Title string
	Cells []namedCell
}

// A namedCell is a cell with its name.
type namedCell struct {
	Name string
	forms.Cell
}

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
	part := func(name string) atm.Record {
		inner, _ := record.Get(name).(atm.Record)
		return inner
	}
	program := section{Title: "Program", Cells: []namedCell{
		{"Server", forms.Plain(record.Get("name"))},
		{"Version", forms.Plain(record.Get("version"))},
		{"Revision", forms.Code(record.Get("revision"))},
		{"Built with", forms.Plain(forms.Plain(record.Get("go")).Text + ", " +
			forms.Plain(record.Get("platform")).Text)},
		{"Started", forms.Moment(record.Get("started"))},
		{"Clock", forms.Plain(record.Get("clock"))},
	}}
	parts := section{Title: "Parts"}
	list, _ := record.Get("parts").([]atm.Record)
	for _, p := range list {
		says := "ready"
		if p.Get("ready") != true {
			says = "not ready: " + forms.Plain(p.Get("reason")).Text
		}
		parts.Cells = append(parts.Cells, namedCell{forms.Plain(p.Get("part")).Text, forms.Cell{Text: says}})
	}
	certificates := section{Title: "Certificates"}
	list, _ = record.Get("certificates").([]atm.Record)
	for _, c := range list {
		certificates.Cells = append(certificates.Cells,
			namedCell{forms.Plain(c.Get("certificate")).Text, forms.Left(c.Get("not_after"))})
	}
	v.show(http.StatusOK, "status.html", "Status", "atmctl status", []section{
		program, parts, certificates, logSection(part("log")),
		{Title: "Store", Cells: []namedCell{
			{"Kind", forms.Plain(part("store").Get("kind"))},
			{"Replicas", forms.Plain(part("store").Get("replicas"))},
			{"Free disk space", bytesOf(part("disk").Get("free"))},
			{"In reserve", bytesOf(part("disk").Get("reserve"))},
			{"Pending holds", pendingOf(part("holds"))},
			{"Standing orders that wait", waitingOf(part("orders"))},
			{"Last backup", backupOf(part("backup"))},
		}},
	})
}

// logSection says how far the audit log is published and cosigned.
func logSection(log atm.Record) section {
	witnessed := forms.Cell{Text: "nobody is asked"}
	if log.Get("witnesses") == true {
		witnessed = whole(log.Get("witnessed"))
	}
	return section{Title: "Audit log", Cells: []namedCell{
		{"Origin", forms.Plain(log.Get("origin"))},
		{"Entries", whole(log.Get("entries"))},
		{"Published", whole(log.Get("published"))},
		{"Cosigned by witnesses", witnessed},
	}}
}

func whole(value any) forms.Cell {
	n, _ := value.(int64)
	return forms.Cell{Text: strconv.FormatInt(n, 10)}
}

func bytesOf(value any) forms.Cell {
	n, _ := value.(int64)
	return forms.Cell{Text: strconv.FormatInt(n>>20, 10) + " MiB"}
}

func waitingOf(orders atm.Record) forms.Cell {
	if orders.Get("counted") != true {
		return forms.Cell{Text: "too many to count them"}
	}
	return whole(orders.Get("waiting"))
}

func pendingOf(holds atm.Record) forms.Cell {
	if holds.Get("counted") != true {
		return forms.Cell{Text: "too many accounts to count them"}
	}
	return whole(holds.Get("pending"))
}

func backupOf(backup atm.Record) forms.Cell {
	if backup.Get("known") != true {
		return forms.Cell{Text: "none is known. atmctl backup FILE makes one"}
	}
	c := forms.Moment(backup.Get("time"))
	c.Text = "by " + forms.Plain(backup.Get("subject")).Text + ", "
	return c
}
