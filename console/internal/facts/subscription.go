package facts

import (
	"strconv"

	"example.com/atm"
	"example.com/atm/console/internal/forms"
)

// OfSubscription is what the answer of feed.show says.
func OfSubscription(record atm.Record) []Section {
	text := func(name string) string { return forms.Plain(record.Get(name)).Text }
	secret := forms.Cell{Text: "the first one"}
	if text("rotated") != "" {
		secret = forms.Moment(record.Get("rotated"))
		secret.Text = "replaced "
	}
	delivery := Section{Title: "Delivery", Facts: []Fact{
		{"Next entry to consider", forms.Plain(record.Get("next"))},
		{"Lag in entries", forms.Plain(record.Get("lag"))},
		{"Events delivered", forms.Plain(record.Get("sent"))},
	}}
	add := func(name string, c forms.Cell) {
		delivery.Facts = append(delivery.Facts, Fact{name, c})
	}
	if text("delivered") != "" {
		add("Last delivery", forms.Moment(record.Get("delivered")))
	}
	if last, _ := record.Get("last").(int64); last >= 0 {
		add("Last entry", forms.Plain(last))
	}
	if problem := forms.FeedProblem(record); problem.Text != "" {
		add("Last error", problem)
	}
	if forms.FeedState(record).Text == "failing" {
		add("Failing since", forms.Moment(record.Get("failing")))
		add("Tries", forms.Plain(record.Get("tries")))
		add("Next try", forms.Moment(record.Get("again")))
	}
	return []Section{{Title: "Subscription", Facts: []Fact{
		{"State", forms.FeedState(record)},
		{"Sends", forms.Cell{Text: forms.FeedSends(record)}},
		{"To", forms.Code(record.Get("url"))},
		{"Owner", forms.Plain(record.Get("owner"))},
		{"Id", forms.Plain(record.Get("id"))},
		{"From entry", forms.Plain(record.Get("from"))},
		{"Proofs", forms.Plain(record.Get("proofs"))},
		{"Secret", secret},
	}}, delivery}
}

// A Test is what became of the test event that was asked for last.
type Test struct {
	Says    string
	Pending bool // it is worth looking again
	Failed  bool
}

// TestOf is the test event of a subscription; nil if none was asked for.
func TestOf(record atm.Record) *Test {
	asked, _ := record.Get("tests").(int64)
	tried, _ := record.Get("tested").(int64)
	if asked == 0 {
		return nil
	}
	event := "Test event " + strconv.FormatInt(asked, 10)
	if tried < asked {
		return &Test{Says: event + " is on its way.", Pending: true}
	}
	if problem := forms.Plain(record.Get("test_error")).Text; problem != "" {
		return &Test{Says: event + " did not arrive: " + problem + ".", Failed: true}
	}
	return &Test{Says: event + " arrived."}
}
