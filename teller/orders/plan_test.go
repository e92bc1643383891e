package orders_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/calendar"
)

// A planned is a standing order of a plan.
type planned struct {
	number      int
	account, to vault.Name
	amount      atm.Amount
	schedule    calendar.Schedule
	zone        *time.Location

	created, cancelled time.Time   // cancelled is the zero time if it never is
	poor               bool        // money comes to its account when it is tried, or not at all
	hopeless           bool        // it never comes
	due                []time.Time // while it is in force, in order
}

// A plan is what happens in a time, worked out without the calendar of the program: it looks at
// each day and at the clock of the zone.
type plan struct {
	orders []*planned
	steps  []time.Time // when something is due, tried again, created or cancelled
	clocks map[reading]time.Time
}

// A reading is what a clock shows.
type reading struct {
	zone    string
	day     int64 // since 1970
	minutes int
}

// first is the first instant at which a clock shows this or more. It looks every 30 seconds.
func (p *plan) first(zone *time.Location, day int64, minutes int) time.Time {
	r := reading{zone.String(), day, minutes}
	if known, ok := p.clocks[r]; ok {
		return known
	}
	want := day*secondsOfDay + int64(minutes)*60
	t := time.Unix(want, 0).Add(-16 * time.Hour).UTC()
	for shows(t, zone) < want {
		t = t.Add(30 * time.Second)
	}
	p.clocks[r] = t
	return t
}

const secondsOfDay = 24 * 60 * 60

// shows is what a clock shows at t, as the seconds since 1970 of the same reading in UTC.
func shows(t time.Time, zone *time.Location) int64 {
	_, offset := t.In(zone).Zone()
	return t.Unix() + int64(offset)
}

// later is the try on a day after the due date.
func (p *plan) later(o *planned, due time.Time, days int) time.Time {
	return p.first(o.zone, shows(due, o.zone)/secondsOfDay+int64(days), o.schedule.At)
}

// dates finds when an order is due until an end.
func (p *plan) dates(o *planned, end time.Time) {
	if !o.cancelled.IsZero() {
		end = o.cancelled.Add(-1)
	}
	for day := o.created.Unix()/secondsOfDay - 2; ; day++ {
		date := time.Unix(day*secondsOfDay, 0).UTC()
		if until := o.schedule.Until.String(); until != "" && date.Format(time.DateOnly) > until ||
			date.After(end.AddDate(0, 0, 2)) {
			return
		}
		due := true
		switch o.schedule.Every {
		case calendar.Week:
			due = date.Weekday() == time.Weekday(o.schedule.On%7)
		case calendar.Month:
			last := date.AddDate(0, 0, 1).Day() == 1
			due = date.Day() == o.schedule.On || last && date.Day() < o.schedule.On
		}
		if !due || date.Format(time.DateOnly) < o.schedule.From.String() {
			continue
		}
		at := p.first(o.zone, day, o.schedule.At)
		if at.After(o.created) && !at.After(end) {
			o.due = append(o.due, at)
		}
	}
}

// newPlan plans so many orders from begin to end.
func newPlan(random *rand.Rand, count int, begin, end time.Time) *plan {
	p := &plan{clocks: make(map[reading]time.Time)}
	zones := []string{
		"Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "UTC",
	}
	minutes := []int{0, 2*60 + 30, 9 * 60, 23*60 + 30}
	span := int(end.Sub(begin) / time.Hour)
	steps := make(map[time.Time]bool)
	for number := range count {
		o := &planned{
			number:  number,
			account: vault.Name(fmt.Sprint(1000 + number%20)),
			to:      vault.Name(fmt.Sprint(100 + random.IntN(10))),
			amount:  atm.Amount(1 + random.IntN(500_00)),
			poor:    number%4 == 0, hopeless: number%8 == 0,
			created: begin,
		}
		if o.poor {
			o.account = vault.Name(fmt.Sprint(10_000 + number))
		}
		if random.IntN(4) == 0 {
			o.created = begin.Add(time.Duration(random.IntN(span)) * time.Hour)
			if random.IntN(2) == 0 {
				rest := int(end.Sub(o.created)/time.Hour) + 1
				o.cancelled = o.created.Add(time.Duration(1+random.IntN(rest)) * time.Hour)
			}
		}
		s := calendar.Schedule{
			At:   minutes[random.IntN(len(minutes))],
			Zone: zones[random.IntN(len(zones))],
		}
		switch kind := random.IntN(10); {
		case kind == 0:
			s.Every = calendar.Day
		case kind < 4:
			s.Every, s.On = calendar.Week, 1+random.IntN(7)
		default:
			s.Every, s.On = calendar.Month, 1+random.IntN(31)
		}
		switch today := calendar.DateOf(o.created, s.Zone); random.IntN(5) {
		case 0:
			s.From = today + calendar.Date(random.IntN(40))
		case 1:
			s.Until = today + calendar.Date(50+random.IntN(100))
		}
		o.schedule = s
		o.zone, _ = time.LoadLocation(s.Zone)
		p.dates(o, end)
		p.orders = append(p.orders, o)
		steps[o.created] = true
		if !o.cancelled.IsZero() && !o.cancelled.After(end) {
			steps[o.cancelled] = true
		}
		for _, due := range o.due {
			steps[due] = true
			for days := 1; o.poor && days <= tries; days++ {
				steps[p.later(o, due, days)] = true
			}
		}
	}
	p.steps = slices.SortedFunc(maps.Keys(steps), time.Time.Compare)
	p.steps = slices.DeleteFunc(p.steps, func(at time.Time) bool { return at.After(end) })
	return p
}

// tries is on how many days after the due date an order without funds is tried again.
const tries = 3

// triedBetween reports whether a payment of an order is tried after one instant and until another.
func (p *plan) triedBetween(o *planned, after, until time.Time) bool {
	from := sort.Search(len(o.due), func(i int) bool {
		return o.due[i].After(after.AddDate(0, 0, -tries-2))
	})
	for _, due := range o.due[from:] {
		if due.After(until) {
			return false
		}
		for days := range tries + 1 {
			at := due
			if days > 0 {
				at = p.later(o, due, days)
			}
			if at.After(after) && !at.After(until) {
				return true
			}
		}
	}
	return false
}

// A dated is one due date of an order.
type dated struct {
	order int
	due   time.Time
}

// An outcome is how a due date ended, and when.
type outcome struct {
	code atm.Code
	at   time.Time
}

func (o outcome) String() string { return string(o.code) + " at " + o.at.Format(time.RFC3339) }

// A model knows what must have happened. It shares nothing with the rules.
type model struct {
	plan    *plan
	balance map[vault.Name]atm.Amount
	next    []int // of each order, which due date is next
	ended   map[dated]outcome
}

func newModel(p *plan) *model {
	return &model{
		plan: p, balance: make(map[vault.Name]atm.Amount), next: make([]int, len(p.orders)),
		ended: make(map[dated]outcome),
	}
}

// pay is what happens to all orders at an instant, when what was due before has happened.
func (m *model) pay(now time.Time) {
	for _, o := range m.plan.orders {
		if !o.cancelled.IsZero() && !now.Before(o.cancelled) {
			continue // also what waits for funds
		}
		for m.next[o.number] < len(o.due) && !o.due[m.next[o.number]].After(now) {
			due := o.due[m.next[o.number]]
			code := atm.OK
			if m.balance[o.account] < o.amount {
				if now.Before(m.plan.later(o, due, tries)) {
					break
				}
				code = atm.InsufficientFunds
			} else {
				m.balance[o.account] -= o.amount
				m.balance[o.to] += o.amount
			}
			m.ended[dated{o.number, due}] = outcome{code, now}
			m.next[o.number]++
		}
	}
}
