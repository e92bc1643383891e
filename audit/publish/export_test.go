package publish

import "context"

// Names that the tests of the package use.
const (
	Patience  = patience
	MostYield = mostYield
)

// Pace is pace.
var Pace = pace

// Inspect is the check that a running publisher makes each minute.
func (p *Publisher) Inspect() { p.inspect(context.Background()) }
