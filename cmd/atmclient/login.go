package main

import (
	"context"
	"encoding/json"

	"example.com/atm/cmd/internal/browse"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/internal/printable"
)

// logIn logs in with a provider of the server.
func (o *options) logIn(ctx context.Context, to *target) error {
	var open func(string) error
	if exit.Terminal(o.stderr) != nil {
		open = browse.Show
	}
	p, err := to.way.LogIn(ctx, &o.login, o.stderr, open)
	if err != nil {
		return err
	}
	if o.isJSON() {
		return json.NewEncoder(o.stdout).Encode(p)
	}
	return printable.Linef(o.stdout, "%s", p)
}

// logOut ends what logIn began.
func (o *options) logOut(ctx context.Context, to *target) error {
	was, err := to.way.LogOut(ctx)
	if err != nil {
		return err
	}
	if o.isJSON() {
		return json.NewEncoder(o.stdout).Encode(map[string]bool{"was_logged_in": was})
	}
	text := "nobody was logged in"
	if was {
		text = "you are logged out"
	}
	return printable.Linef(o.stdout, "%s", text)
}
