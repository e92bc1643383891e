//go:build unix

package attack_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"example.com/atm/cmd/internal/daemontest"
)

// Paths of forms.
const (
	feedPage   = "/console/feed"
	addFeed    = feedPage + "/add"
	adminFeed  = "/console/admin/feed"
	sourceFeed = adminFeed + "/sources"
)

// receiverURL is where nothing arrives: events are not what these attacks are about.
const receiverURL = "https://receiver.invalid/atm"

// subscribers are what attackConsoleFeed is about: two customers, each with a subscription to an
// account of theirs, an auditor, an operator, and a source of webhooks.
type subscribers struct {
	fay, guy, vera, otto *tab
	add                  url.Values // form of fay that is not sent yet
	acts                 map[string]url.Values
	adminActs            map[string]url.Values // on the subscription of guy
	sourceActs           map[string]url.Values
}

// attackConsoleFeed subscribes to what is not the attacker's, acts on subscriptions of somebody
// else, and asks for their secrets.
func (a *arena) attackConsoleFeed(t *testing.T) {
	s := &subscribers{
		fay: a.person(t, "fay", "customer", "940"), guy: a.person(t, "guy", "customer", "950"),
		vera: a.person(t, "vera", "auditor", ""), otto: a.person(t, "otto", "operator", ""),
	}
	s.add = fields("name", "more", "url", receiverURL, "account", "940", "request_id", "add")
	for _, b := range []*tab{s.fay, s.guy} {
		own := changed(s.add, "name", "of-"+b.subject[5:], "account", b.account)
		must(t, b.post(t, addFeed, own), http.StatusOK)
	}
	daemontest.Must(t)(a.office.Call(t.Context(), "feed.source.add", "tills", "service:till"))
	s.acts, s.adminActs = map[string]url.Values{}, map[string]url.Values{}
	for _, act := range []string{
		"pause", "resume", "test", "replay", "secret", "rotate", "remove",
	} {
		s.acts[act] = fields("name", "of-guy", "from", "0", "request_id", act)
	}
	for _, act := range []string{"pause", "resume", "remove"} {
		s.adminActs[act] = fields("name", "of-guy", "owner", "user:guy", "request_id", act)
	}
	s.sourceActs = map[string]url.Values{
		"add": fields("name", "evil", "owner", "service:till", "request_id", "add"),
	}
	for _, act := range []string{"secret", "rotate", "remove"} {
		s.sourceActs[act] = fields("name", "tills", "owner", "service:till", "request_id", act)
	}
	t.Run("of another site", func(t *testing.T) { a.attackFeedAcross(t, s) })
	t.Run("of others", func(t *testing.T) { a.attackOthersFeeds(t, s) })
	t.Run("changed", func(t *testing.T) { a.attackFeedFields(t, s) })
	t.Run("again", func(t *testing.T) { a.attackRepeatedFeeds(t, s) })
	t.Run("markup", func(t *testing.T) { a.attackFeedMarkup(t, s) })
	a.unchangedFeeds(t, s)
}

// unchangedFeeds requires that the customers have what they subscribed to, and nothing else.
func (a *arena) unchangedFeeds(t *testing.T, s *subscribers) {
	t.Helper()
	for _, b := range []*tab{s.fay, s.guy} {
		name := "of-" + b.subject[5:]
		record, _ := daemontest.Must(t)(a.office.Call(t.Context(), "feed.list",
			b.subject)).Result.(map[string]any)
		rows, _ := record["subscriptions"].([]any)
		row, _ := rows[0].(map[string]any)
		if len(rows) != 1 || row["name"] != name || row["state"] != "active" ||
			fmt.Sprint(row["generation"], row["tests"]) != "0 0" {
			t.Errorf("%s has %v", b.subject, rows)
		}
	}
	record, _ := daemontest.Must(t)(a.office.Call(t.Context(),
		"feed.source.list")).Result.(map[string]any)
	if sources, _ := record["sources"].([]any); len(sources) != 1 {
		t.Errorf("there are the sources %v", sources)
	}
}

// attackFeedAcross sends the forms as a page of another site does, in no session, and by GET.
func (a *arena) attackFeedAcross(t *testing.T, s *subscribers) {
	var attacks []formAttack
	across := func(by *tab, path string, form url.Values) {
		attacks = append(attacks, formAttack{
			name: path, by: by, path: path, form: form, want: 403, says: "other sites",
			header: []string{"Origin: https://evil.example"},
		}, formAttack{
			name: path + " of a site beside", by: by, path: path, form: form, want: 403,
			says: "other sites", header: []string{"Sec-Fetch-Site: same-site"},
		}, formAttack{
			name: path + " in no session", path: path, form: form, want: 401,
		}, formAttack{
			name: path + " by GET", by: by, path: path, method: http.MethodGet,
			query: changed(form, "request_id", "get", "review", "1"), want: 200,
		})
	}
	across(s.fay, addFeed, s.add)
	for act, form := range s.acts {
		across(s.guy, feedPage+"/"+act, form)
	}
	for act, form := range s.adminActs {
		across(s.otto, adminFeed+"/"+act, form)
	}
	for act, form := range s.sourceActs {
		across(s.otto, sourceFeed+"/"+act, form)
	}
	a.runForms(t, attacks)
}

// attackOthersFeeds acts on the subscription of somebody else by its name and by its id, under
// their name, and in the forms of operators.
func (a *arena) attackOthersFeeds(t *testing.T, s *subscribers) {
	shown, _ := daemontest.Must(t)(a.office.Call(t.Context(), "feed.show", "of-guy",
		"user:guy")).Result.(map[string]any)
	id, _ := shown["id"].(string)
	var attacks []formAttack
	post := func(by *tab, name, path string, form url.Values, want int, entry string) {
		attacks = append(attacks, formAttack{
			name: name, by: by, path: path, form: changed(form, "request_id", name), want: want,
			entry: entry,
		})
	}
	for act, form := range s.acts {
		op, path := "feed."+act, feedPage+"/"+act
		post(s.fay, act, path, form, 404, op+" FEED_NOT_FOUND")
		post(s.fay, act+" by its id", path, changed(form, "name", id), 404, op+" FEED_NOT_FOUND")
		post(s.fay, act+" with an owner", path, changed(form, "owner", "user:guy"), 404,
			op+" FEED_NOT_FOUND")
		post(s.vera, act+" by an auditor", path, form, 404, op+" FEED_NOT_FOUND")
		post(s.otto, act+" by an operator, as their own", path, form, 404, op+" FEED_NOT_FOUND")
	}
	for act, form := range s.adminActs {
		op, path := "feed."+act, adminFeed+"/"+act
		post(s.fay, act+" in the form of operators", path, form, 403, op+" PERMISSION_DENIED")
		post(s.vera, act+" in the form of operators, by an auditor", path, form, 403,
			op+" PERMISSION_DENIED")
		post(s.fay, act+" of everybody", path, changed(form, "owner", "*"), 403,
			op+" PERMISSION_DENIED")
		post(s.otto, act+" of the wrong owner", path, changed(form, "owner", "user:fay"), 404,
			op+" FEED_NOT_FOUND")
	}
	for act, form := range s.sourceActs {
		for _, by := range []*tab{s.fay, s.vera} {
			post(by, "the source: "+act+" by "+by.subject, sourceFeed+"/"+act, form, 403,
				"feed.source."+act+" PERMISSION_DENIED")
		}
	}
	post(s.otto, "an operator subscribes", addFeed, s.add, 403, "feed.add PERMISSION_DENIED")
	for path, want := range map[string]int{
		"feed/subscriptions/of-guy": 404, "feed/subscriptions/" + id: 404,
		"feed/subscriptions/of-guy?owner=user:guy": 403, "feed/subscriptions/*": 404,
		"feed/subscriptions/of-guy?owner=*": 403, "feed/subscriptions/../log": 404,
		"admin/feed": 403, "admin/feed?owner=user:guy": 403, "admin/feed/sources": 403,
		"admin/feed/sources/add": 403, "admin": 403,
	} {
		attacks = append(attacks, formAttack{
			name: "page " + path, by: s.fay, method: http.MethodGet, path: "/console/" + path,
			want: want,
		})
	}
	a.runForms(t, attacks)
	// What a form says of a subscription that is not the reader's tells nothing of it.
	for _, path := range []string{
		feedPage + "/remove?request_id=r&name=of-guy",
		adminFeed + "/remove?request_id=r&name=of-guy&owner=user:guy",
	} {
		b := s.fay.at(a.attacker(t))
		page := main(b.send(t, b.write(http.MethodGet, path, "")).page)
		if strings.Contains(page, receiverURL) || strings.Contains(page, "950") {
			t.Errorf("%s tells of what is somebody else's: %s", path, page)
		}
	}
}

// attackFeedFields changes what the form of a subscription says.
func (a *arena) attackFeedFields(t *testing.T, s *subscribers) {
	var attacks []formAttack
	with := func(field, value string, want int, entry string) {
		attacks = append(attacks, formAttack{
			name: field + " " + strings.ReplaceAll(value, ":", " "), by: s.fay, path: addFeed, want: want, entry: entry,
			form: changed(s.add, field, value, "request_id", field+value),
		})
	}
	const invalid = "feed.add FEED_INVALID"
	with("account", "950", 404, "feed.add ACCOUNT_NOT_FOUND")
	with("account", "999", 404, "feed.add ACCOUNT_NOT_FOUND")
	with("account", "", 422, invalid)
	with("account", "cash:user:fay", 422, "")
	with("account", "*", 422, "")
	with("owner", "user:guy", 422, invalid)
	with("owner", "user:fay", 422, invalid)
	with("subject", "user:guy", 422, invalid)
	with("name", "of-fay", 422, "feed.add FEED_EXISTS")
	with("name", "f4711", 422, invalid)
	with("name", "../log", 422, "")
	with("name", "Of-Fay", 422, "")
	with("operation", "feed.add; drop", 422, invalid)
	with("status", "ok", 422, "")
	with("below", "-1", 422, "")
	with("above", "1e3", 422, "")
	with("proofs", "2", 422, "")
	with("from", "-1", 422, "")
	with("from", "999999999", 422, "feed.add CURSOR_INVALID")
	for _, target := range []string{
		"https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest/meta-data/",
		"https://10.0.0.1/", "https://user:secret@receiver.invalid/", "https://0x7f000001/",
	} {
		with("url", target, 422, invalid)
	}
	for _, target := range []string{
		"http://receiver.invalid/", "file:///etc/passwd", "javascript:alert(1)",
		"//receiver.invalid", "https:///", "gopher://receiver.invalid/",
	} {
		with("url", target, 422, "")
	}
	for _, field := range []string{"name", "url", "account", "request_id"} {
		form := changed(s.add)
		form.Add(field, "https://evil.example/")
		attacks = append(attacks, formAttack{
			name: "two of " + field, by: s.fay, path: addFeed, form: form, want: 422,
		})
	}
	attacks = append(attacks, formAttack{
		name: "no request id", by: s.fay, path: addFeed, form: changed(s.add, "request_id", ""),
		want: 422,
	})
	a.runForms(t, attacks)
}

// attackRepeatedFeeds sends forms again, for something else and as somebody else.
func (a *arena) attackRepeatedFeeds(t *testing.T, s *subscribers) {
	first := changed(s.add, "name", "of-fay", "account", "940") // as it was sent at the beginning
	a.runForms(t, []formAttack{
		{
			name: "to another URL", by: s.fay, path: addFeed, want: 422,
			form:  changed(first, "url", "https://evil.invalid/"),
			entry: "feed.add IDEMPOTENCY_CONFLICT",
		},
		{
			name: "of another account", by: s.fay, path: addFeed, want: 422,
			form: changed(first, "account", "950"), entry: "feed.add IDEMPOTENCY_CONFLICT",
		},
		{
			name: "by somebody else, for the secret", by: s.guy, path: addFeed, form: first,
			want: 422, entry: "feed.add IDEMPOTENCY_CONFLICT",
		},
		{
			name: "as another act", by: s.fay, path: feedPage + "/remove", want: 422,
			form:  fields("name", "of-fay", "request_id", "add"),
			entry: "feed.remove IDEMPOTENCY_CONFLICT",
		},
	})
}

// attackFeedMarkup puts markup into all that the pages show again.
func (a *arena) attackFeedMarkup(t *testing.T, s *subscribers) {
	all := fields("name", markup, "url", markup, "account", markup, "below", markup, "above",
		markup, "operation", markup, "status", markup, "subject", markup, "owner", markup, "proofs", markup,
		"from", markup)
	link := "https://receiver.invalid/?" + url.PathEscape(`'"><script>alert(1)</script>`)
	get := func(name, path string, query url.Values, want int) formAttack {
		return formAttack{
			name: name, by: s.fay, path: path, method: http.MethodGet, query: query, want: want,
		}
	}
	a.runForms(t, []formAttack{
		{
			name: "a form", by: s.fay, path: addFeed, want: 422,
			form: changed(all, "request_id", "markup"),
		},
		get("a form to look at", addFeed, changed(all, "request_id", markup, "review", "1"), 422),
		get("a URL to look at", addFeed, changed(s.add, "url", link, "review", "1"), 200),
		get("a URL with markup in it", addFeed, changed(s.add, "url", "https://a.invalid/"+markup,
			"review", "1"), 200),
		get("a subscription to remove", feedPage+"/remove", fields("name", markup, "request_id",
			markup), 200),
		get("the name in a path", feedPage+"/subscriptions/"+url.PathEscape(markup), nil, 404),
		get("the owner in a query", feedPage+"/subscriptions/of-fay", fields("owner", markup), 403),
		get("an owner to look for", adminFeed, fields("owner", markup), 403),
		{
			name: "an operator looks for an owner", by: s.otto, path: adminFeed,
			method: http.MethodGet, query: fields("owner", markup), want: 422,
		},
		{
			name: "a source", by: s.otto, path: sourceFeed + "/add", want: 422,
			form: fields("name", markup, "owner", markup, "request_id", "markup"),
		},
	})
}
