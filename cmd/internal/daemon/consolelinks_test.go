//go:build unix

package daemon_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"example.com/atm/cmd/internal/daemontest"
)

// linkTo returns the first link of a page that begins so.
func linkTo(t *testing.T, page, begin string) string {
	t.Helper()
	link := regexp.MustCompile(`href="(` + regexp.QuoteMeta(begin) + `[^"]*)"`).FindStringSubmatch(page)
	if link == nil {
		t.Fatalf("no link begins with %s in\n%s", begin, page)
	}
	return html.UnescapeString(link[1])
}

func TestLinksOfAPageKeepItsFilter(t *testing.T) {
	t.Parallel()
	h := consoleServer(t)
	for _, args := range [][]any{{"100", "5", "one"}, {"100", "7", "two"}} {
		daemontest.Must(t)(h.As(t, "demo").Call(t.Context(), "deposit", args...))
	}
	daemontest.Must(t)(h.As(t, "demo").Call(t.Context(), "withdraw", "100", "2", "three"))
	customer, auditor := visitorAs(t, h, "demo"), visitorAs(t, h, "operator")

	const nothing = "2020-01-01"
	statement := customer.see(http.StatusOK, "/console/accounts/100/statement?from=2020-01-01")
	csv := customer.see(http.StatusOK, linkTo(t, statement, "/console/accounts/100/statement.csv?"))
	if !strings.Contains(csv, ",-2.00,1010.00,") {
		t.Errorf("money that left is no number in\n%s", csv)
	}
	empty := strings.Replace(linkTo(t, statement, "/console/accounts/100/statement.csv?"), "from=",
		"to="+nothing+"&before=", 1)
	if rows := customer.see(http.StatusOK, empty); strings.Count(rows, "\n") != 1 {
		t.Errorf("a time in which nothing happened has\n%s", rows)
	}
	if print := linkTo(t, statement, "?print=1&"); !strings.HasSuffix(print, "from=2020-01-01&to=") {
		t.Errorf("the print view is at %s", print)
	}

	log := auditor.see(http.StatusOK, "/console/log?account=100&operation=withdraw")
	for _, begin := range []string{"/console/log/export?form=jsonl&amp;"} {
		rows := auditor.see(http.StatusOK, linkTo(t, log, begin))
		if strings.Count(rows, "\n") != 1 || !strings.Contains(rows, "withdraw") {
			t.Errorf("%s has\n%s", begin, rows)
		}
	}
	if to := linkTo(t, log, "?follow=1&amp;"); !strings.Contains(to, "account=100") {
		t.Errorf("following is at %s", to)
	}
}

func TestActSentInNoSessionLeadsBackToItsReview(t *testing.T) {
	t.Parallel()
	h := withConsole(t)
	b := newWebBrowser(t, h)
	b.change = func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	again := url.Values{"act": {"deposit"}, "amount": {"5.00"}, "request_id": {"one"}}
	form := url.Values{"act": {"deposit"}, "amount": {"5.00"}, "request_id": {"one"}}
	status, _, header := b.ask("/console/accounts/100/act?"+again.Encode(), form)
	to, err := url.Parse(header.Get("Location"))
	if err != nil || status != http.StatusSeeOther || to.Path != "/console/sign-in" ||
		to.Query().Get("next") != "/console/accounts/100/review?"+again.Encode() {
		t.Errorf("%d, to %s", status, header.Get("Location"))
	}
	if _, _, header := b.ask("/console/me/passkeys", form); !strings.HasSuffix(
		header.Get("Location"), "next=%2Fconsole%2F") {
		t.Errorf("another act leads to %s", header.Get("Location"))
	}
}
