package methods

import "example.com/atm"

// Results of methods, as examples: the names of their fields, and the type of each. A list has one
// example of what is in it. A value that is []any is of the type of one of them.

func record(fields ...atm.Field) atm.Record { return fields }

func field(name string, value any) atm.Field { return atm.Field{Name: name, Value: value} }

// page is a list with the cursor of the page after it.
func page(name string, row atm.Record, more ...atm.Field) atm.Record {
	return append(record(field(name, []atm.Record{row}), field("next", "")), more...)
}

var (
	resultWhoami = record(field("subject", "user:demo"), field("roles", []string{"customer"}),
		field("method", "mtls"))

	resultAccount = record(field("account", "100"), field("owner", "user:demo"),
		field("name", "Ada Lovelace"), field("standing", "open"), field("balance", "1012.50"),
		field("held", "0.00"), field("version", int64(2)), field("limits", record(
			field("per_operation", "500.00"), field("daily_amount", ""),
			field("daily_count", []any{"", int64(10)}), field("zone", "UTC"),
		)))

	resultStatement = record(field("opening", "1000.00"), field("closing", "1012.50"),
		field("entries", []atm.Record{record(
			field("index", int64(4)), field("time", "2026-11-30T08:00:00.000000Z"),
			field("operation", "deposit"), field("amount", "12.50"), field("balance", "1012.50"),
			field("counterparty", ""), field("memo", ""),
			field("reverses", []any{"", int64(3)}), field("reversed", ""),
		)}), field("next", ""), field("since", ""))

	resultMandate = record(field("mandate", "m4711"), field("account", "100"),
		field("debtor", "user:demo"), field("creditor", "service:gas"), field("each", ""),
		field("total", "80.00"), field("period", "month"), field("spent", "0.00"),
		field("from", ""), field("until", ""), field("memo", ""))

	resultOrder = record(field("order", "o4711"), field("account", "100"), field("to", "200"),
		field("amount", "12.50"), field("every", "month"), field("on", int64(1)),
		field("at", "06:00"), field("zone", "UTC"), field("from", "2026-12-01"),
		field("until", ""), field("memo", ""), field("state", "active"),
		field("next", "2026-12-01T06:00:00Z"), field("paid", int64(0)), field("failed", int64(0)),
		field("last", ""), field("outcome", ""))

	resultNotices = page("entries", record(field("index", int64(4)),
		field("time", "2026-11-30T08:00:00.000000Z"), field("by", "service:gas"),
		field("text", "The price changes.")), field("since", ""))

	resultHold = record(field("hold", "h4711"), field("account", "100"), field("amount", "40.00"),
		field("state", "pending"), field("expires", "2026-12-07T08:00:00Z"))

	resultGrant = record(field("grant", "g4711"), field("grantor", "user:demo"),
		field("grantee", "service:shop"), field("accounts", []string{"100"}),
		field("operations", []string{"withdraw"}), field("cap", "100.00"), field("spent", "0.00"),
		field("expires", "2026-12-31T00:00:00Z"), field("revoked", false))
)
