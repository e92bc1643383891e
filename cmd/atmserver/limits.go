package main

import (
	"time"

	"example.com/atm/cmd/internal/exit"
	"example.com/atm/server"
	"github.com/spf13/pflag"
)

// addLimits adds the flags that bound one request.
func addLimits(flags *pflag.FlagSet, c *server.Config) {
	flags.Int64Var(&c.Limits.BodyBytes, "max-body", 256<<10, "`bytes` of the largest body of a "+
		"request")
	flags.IntVar(&c.Limits.Depth, "max-depth", 32, "deepest `nesting` of elements of XML")
	flags.IntVar(&c.Limits.Elements, "max-elements", 10_000, "most `elements` of XML in a request")
	flags.IntVar(&c.Limits.StringBytes, "max-string", 64<<10, "`bytes` of the longest text of "+
		"one element")
	flags.IntVar(&c.Limits.Calls, "max-calls", 100, "most `calls` in one multicall")
	flags.Int64Var(&c.Limits.AnswerBytes, "max-answer", 2<<20, "`bytes` of the largest answer; "+
		"what no longer fits into that of a multicall is not carried out")
	flags.IntVar(&c.HeaderBytes, "max-header", 16<<10, "`bytes` of the largest header of a request")
	flags.IntVar(&c.MaxConnections, "max-connections", 4096, "most open `connections`; for "+
		"another one a silent one is dropped")
	flags.IntVar(&c.MaxPerAddress, "max-connections-per-address", 1024, "most open `connections` "+
		"from one address, which is the client's behind a balancer of --proxy-from")
	flags.DurationVar(&c.HeaderTimeout, "header-timeout", 5*time.Second,
		"how long the header of a request may take to arrive")
	flags.DurationVar(&c.RequestTimeout, "request-timeout", 15*time.Second,
		"how long a whole request may take to arrive")
	flags.DurationVar(&c.IdleTimeout, "idle-timeout", time.Minute, "how long a connection may "+
		"wait for its next request")
}

// checkLimits refuses limits outside their range: too small to work, or too large to bound
// anything.
func checkLimits(c *server.Config) error {
	for _, l := range []struct {
		flag             string
		value, low, high int64
	}{
		{"max-body", c.Limits.BodyBytes, 1 << 10, 64 << 20},
		{"max-depth", int64(c.Limits.Depth), 16, 1 << 10},
		{"max-elements", int64(c.Limits.Elements), 100, 10_000_000},
		{"max-string", int64(c.Limits.StringBytes), 256, 64 << 20},
		{"max-calls", int64(c.Limits.Calls), 1, 10_000},
		{"max-connections", int64(c.MaxConnections), 16, 1 << 20},
		{"max-connections-per-address", int64(c.MaxPerAddress), 1, 1 << 20},
		{"max-answer", c.Limits.AnswerBytes, 2 << 20, 256 << 20},
		{"max-header", int64(c.HeaderBytes), 2 << 10, 1 << 20},
	} {
		if l.value < l.low || l.value > l.high {
			return exit.Usagef("--%s is %d to %d, not %d", l.flag, l.low, l.high, l.value)
		}
	}
	const shortest, longest = 100 * time.Millisecond, time.Hour
	for flag, d := range map[string]time.Duration{
		"header-timeout": c.HeaderTimeout, "request-timeout": c.RequestTimeout,
		"idle-timeout": c.IdleTimeout,
	} {
		if d < shortest || d > longest {
			return exit.Usagef("--%s is 100ms to 1h0m0s, not %v", flag, d)
		}
	}
	return nil
}
