// Package facts says which facts of a record a page of the console shows, in sections: of the
// server, and of a subscription to the event feed.
package facts

import (
	"strconv"
	"strings"

	"example.com/atm"
	"example.com/atm/console/internal/forms"
)

// A Section is a part of a page with facts.
type Section struct {
	Title string
	Facts []Fact
}

// A Fact is a cell with its name.
type Fact struct {
	Name string
	forms.Cell
}

// OfServer is the state of the server, as atmctl status tells it.
func OfServer(record atm.Record) []Section {
	part := func(name string) atm.Record {
		inner, _ := record.Get(name).(atm.Record)
		return inner
	}
	program := Section{Title: "Program", Facts: []Fact{
		{"Server", forms.Plain(record.Get("name"))},
		{"Version", forms.Plain(record.Get("version"))},
		{"Revision", forms.Code(record.Get("revision"))},
		{"Built with", forms.Plain(forms.Plain(record.Get("go")).Text + ", " +
			forms.Plain(record.Get("platform")).Text)},
		{"Started", forms.Moment(record.Get("started"))},
		{"Clock", forms.Plain(record.Get("clock"))},
	}}
	parts := Section{Title: "Parts"}
	list, _ := record.Get("parts").([]atm.Record)
	for _, p := range list {
		says := "ready"
		if p.Get("ready") != true {
			says = "not ready: " + forms.Plain(p.Get("reason")).Text
		}
		parts.Facts = append(parts.Facts, Fact{forms.Plain(p.Get("part")).Text, forms.Cell{Text: says}})
	}
	certificates := Section{Title: "Certificates"}
	list, _ = record.Get("certificates").([]atm.Record)
	for _, c := range list {
		certificates.Facts = append(certificates.Facts,
			Fact{forms.Plain(c.Get("certificate")).Text, forms.Left(c.Get("not_after"))})
	}
	return []Section{
		program, parts, certificates, logSection(part("log")),
		{Title: "Store", Facts: []Fact{
			{"Kind", forms.Plain(part("store").Get("kind"))},
			{"Replicas", forms.Plain(part("store").Get("replicas"))},
			{"Free disk space", bytesOf(part("disk").Get("free"))},
			{"In reserve", bytesOf(part("disk").Get("reserve"))},
			{"Pending holds", pendingOf(part("holds"))},
			{"Standing orders that wait", waitingOf(part("orders"))},
			{"Subscriptions", subscriptionsOf(part("feed"))},
			{"Last backup", backupOf(part("backup"))},
		}},
	}
}

// logSection says how far the audit log is published, cosigned and archived.
func logSection(log atm.Record) Section {
	witnessed := forms.Cell{Text: "nobody is asked"}
	if log.Get("witnesses") == true {
		witnessed = whole(log.Get("witnessed"))
	}
	signer := forms.Cell{Text: "a key in the data folder"}
	if log.Get("key_in_module") == true {
		signer = forms.Cell{Text: "a key in a PKCS #11 module"}
	}
	return Section{Title: "Audit log", Facts: []Fact{
		{"Origin", forms.Plain(log.Get("origin"))},
		{"Entries", whole(log.Get("entries"))},
		{"Published", whole(log.Get("published"))},
		{"Signed by", signer},
		{"Cosigned by witnesses", witnessed},
		{"Seen from outside", forms.Moment(log.Get("watched"))},
		{"Archived", archivedOf(log.Get("archive"))},
		{"First entry here", whole(log.Get("base"))},
	}}
}

// archivedOf says how far the log is archived, and why the last try failed if it did.
func archivedOf(value any) forms.Cell {
	archive, _ := value.(atm.Record)
	if archive.Get("used") != true {
		return forms.Cell{Text: "there is no archive"}
	}
	c := whole(archive.Get("entries"))
	if archive.Get("lags") == true {
		c.Text += ", lags"
	}
	if reason := forms.Plain(archive.Get("reason")).Text; reason != "" {
		c.Text += ", the last try failed: " + reason
	}
	return c
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

// subscriptionsOf counts the subscriptions to the event feed, and those that are not delivered.
func subscriptionsOf(feed atm.Record) forms.Cell {
	c := whole(feed.Get("subscriptions"))
	var words []string
	for _, state := range []string{"failing", "paused", "stopped"} {
		if n := whole(feed.Get(state)).Text; n != "0" {
			words = append(words, n+" "+state)
		}
	}
	if words != nil {
		c.Text += ", of which " + strings.Join(words, ", ")
	}
	return c
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
