package server

import "testing"

func TestKeyInQuotationMarksIsItsText(t *testing.T) {
	for _, tt := range []struct {
		header, want string
		ok           bool
	}{
		{"", "", true},
		{"order-4711", "order-4711", true},
		{"8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324", true},
		{`"order-4711"`, "order-4711", true},
		{`"a \"b\" \\ c"`, `a "b" \ c`, true},
		{`""`, "", false},
		{`"`, "", false},
		{`"open`, "", false},
		{`"a"b`, "", false},
		{`"a";v=1`, "", false},
		{`"a", "b"`, "", false},
		{"a, b", "", false},
		{"a,b", "", false},
		{`a"b`, "", false},
		{`"a\b"`, "", false},
		{`"a\"`, "", false},
		{"\"é\"", "", false},
		{"\"a\tb\"", "", false},
	} {
		if got, ok := structuredKey(tt.header); ok != tt.ok || ok && got != tt.want {
			t.Errorf("%s is %q, %v", tt.header, got, ok)
		}
	}
}
