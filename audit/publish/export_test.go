package publish

// What the tests of the package see of its inside.
const (
	Patience  = patience
	MostYield = mostYield
)

// Pace is pace.
var Pace = pace

// Inspect is what a running publisher does each minute.
func (p *Publisher) Inspect() { p.inspect() }
