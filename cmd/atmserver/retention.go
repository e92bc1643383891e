package main

import (
	"time"

	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/when"
	"example.com/atm/vault/requestid"
	"github.com/spf13/pflag"
)

// shortestKeep is the shortest window. A request id is answered from the journal for its whole
// life, and a day of request ids is swept away as a whole.
const shortestKeep = requestid.Life + 24*time.Hour

// addRetentionFlags adds the flags for the archive.
func (o *options) addRetentionFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.archive, "archive", "", "`location` of the archive of the audit log and of "+
		"snapshots: a folder, or s3://BUCKET/PREFIX; see docs/operations.md")
	flags.StringVar(&o.keep, "keep", "", "how `long` entries stay here that are in the archive, such "+
		"as 90d; at least 8d (default for ever)")
}

// retention checks the flags for the archive.
func (o *options) retention() (daemon.Retention, error) {
	r := daemon.Retention{Archive: o.archive}
	if o.keep == "" {
		return r, nil
	}
	keep, ok := when.ParseSpan(o.keep)
	if !ok || keep < shortestKeep {
		return r, exit.Usagef("--keep is at least 8d, such as 90d or 1000h, not %q: request ids "+
			"are answered from what is kept", o.keep)
	}
	if o.archive == "" {
		return r, exit.Usagef("--keep goes with --archive: nothing is removed that is nowhere else")
	}
	r.Keep = keep
	return r, nil
}
