package subscriptions

import (
	"context"
	"strings"

	"example.com/atm"
	"example.com/atm/teller/bookings"
	"example.com/atm/teller/methods"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/people"
)

// HookPath begins the path that webhooks are sent to. The name of a service and that of a source
// follow.
const HookPath = "/hooks/"

// pathOf is where webhooks of a source are sent to.
func pathOf(owner, name string) string {
	return HookPath + strings.TrimPrefix(owner, servicePrefix) + "/" + name
}

const servicePrefix = "service:"

// source reads which source a call is about.
func source(in *bookings.Input) (owner, name string, err error) {
	name, owner = in.Args[0].Text, in.Args[1].Text
	if err := feeds.CheckName(name); err != nil {
		return "", "", bookings.Malformed("%w", err)
	}
	if err := bookings.CheckSubject(owner); err != nil || !strings.HasPrefix(owner,
		servicePrefix) {
		return "", "", bookings.Malformed("a source is of service:NAME")
	}
	return owner, name, nil
}

// ofSource makes a rule about a source.
func ofSource(in *bookings.Input, rule func(owner, name string) feeds.Rule) (vault.Rule, error) {
	owner, name, err := source(in)
	if err != nil {
		return nil, err
	}
	return vault.FeedRule{Rule: rule(owner, name)}, nil
}

func addSource(_ context.Context, _ Desk, in *bookings.Input) (vault.Rule, error) {
	rule, err := ofSource(in, func(owner, name string) feeds.Rule {
		return feeds.AddSource{Owner: owner, Name: name}
	})
	// Notices come under the name of somebody who may sign in.
	in.About = append(in.About, people.Warrant{Subject: in.Args[1].Text, Named: true})
	return rule, err
}

func rotateSource(_ context.Context, _ Desk, in *bookings.Input) (vault.Rule, error) {
	return ofSource(in, func(owner, name string) feeds.Rule {
		return feeds.RotateSource{Owner: owner, Name: name}
	})
}

func removeSource(_ context.Context, _ Desk, in *bookings.Input) (vault.Rule, error) {
	return ofSource(in, func(owner, name string) feeds.Rule {
		return feeds.RemoveSource{Owner: owner, Name: name}
	})
}

func sourceSecret(_ context.Context, d Desk, in *bookings.Input) (vault.Rule, error) {
	if !in.Caller.InScope("*") {
		return secretHasNoScope, nil
	}
	return ofSource(in, func(owner, name string) feeds.Rule {
		return feeds.ShowSource{Owner: owner, Name: name, Tell: func(s *feeds.Source) atm.Record {
			return append(sourceRecord(owner, s), atm.Field{
				Name: "secret", Value: d.Feed.SourceSecret(owner, s),
			})
		}}
	})
}

func listSources(ctx context.Context, d Desk, _ *bookings.Input) (vault.Rule, error) {
	books, err := d.Store.Feeds(ctx)
	if err != nil {
		return nil, err
	}
	found := []atm.Record{}
	for i := range books {
		for j := range books[i].Sources {
			if len(found) < methods.MaxFeeds {
				found = append(found, sourceRecord(books[i].Owner, &books[i].Sources[j]))
			}
		}
	}
	return vault.Report{Result: atm.Record{{Name: "sources", Value: found}}}, nil
}

func sourceRecord(owner string, s *feeds.Source) atm.Record {
	return atm.Record{
		{Name: "id", Value: s.ID.String()},
		{Name: "name", Value: s.Name},
		{Name: "owner", Value: owner},
		{Name: "path", Value: pathOf(owner, s.Name)},
		{Name: "generation", Value: int64(s.Generation)},
		{Name: "rotated", Value: stamp(s.Rotated)},
	}
}
