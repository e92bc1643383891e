package main

import (
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/feed"
	"github.com/spf13/pflag"
)

// addFeedFlags adds the flags for the event feed.
func (o *options) addFeedFlags(flags *pflag.FlagSet) {
	flags.StringArrayVar(&o.allowNet, "allow-net", nil, "`network` or address that events may be "+
		"sent to although it is not of the public Internet; repeatable")
	flags.StringVar(&o.feed.CA, "feed-ca", "", "`file` with authorities that receivers of events "+
		"may be of, beside those of the system")
	flags.StringVar(&o.feed.Cert, "feed-cert", "", "`file` with a certificate for receivers of "+
		"events that ask for one")
	flags.StringVar(&o.feed.Key, "feed-key", "", "`file` with the key of --feed-cert")
	flags.Float64Var(&o.feed.Rate, "feed-rate", feed.DefaultRate, "`events` a second that are "+
		"sent for long, to all subscribers together; for a moment there may be more")
}

// feedOptions checks the flags of the event feed.
func (o *options) feedOptions() (daemon.Feed, error) {
	events := o.feed
	if (events.Cert == "") != (events.Key == "") {
		return events, exit.Usagef("--feed-cert and --feed-key come together")
	}
	if !(events.Rate >= 1 && events.Rate <= 100_000) { // not a number is refused as well
		return events, exit.Usagef("--feed-rate is 1 to 100000, not %v", events.Rate)
	}
	for _, text := range o.allowNet {
		allowed, err := network("allow-net", text)
		if err != nil {
			return events, err
		}
		events.AllowNet = append(events.AllowNet, allowed)
	}
	return events, nil
}
