package server

import "testing"

// TestBodyThatMayBePrivateIsRecognizedHoweverItIsWritten writes the name of a method with a secret
// in every way that a caller may.
func TestBodyThatMayBePrivateIsRecognizedHoweverItIsWritten(t *testing.T) {
	utf16 := func(text string) string {
		wide := "\xfe\xff"
		for _, c := range []byte(text) {
			wide += string([]byte{0, c})
		}
		return wide
	}
	for _, tt := range []struct {
		path, body string
		want       bool
	}{
		{"/v1/deposit", `{"account":100,"amount":"1"}`, false},
		{"/v1/admin.user.add", `{}`, true},
		{"/v1/system.multicall", `{"calls":[{"method":"deposit"}]}`, false},
		{"/v1/system.multicall", `{"calls":[{"method":"admin.user.add"}]}`, true},
		{"/v1/system.multicall", `{"calls":[{"method":"admin.user.\u0061dd"}]}`, true},
		{"/RPC2", "<methodName>deposit</methodName>", false},
		{"/RPC2", "<methodName>admin.user.add</methodName>", true},
		{"/RPC2", "<methodName>admin.user.&#97;dd</methodName>", true},
		{"/RPC2", "<methodName>admin.user.<![CDATA[add]]></methodName>", true},
		{"/RPC2", "<methodName>admin.user<!-- -->.add</methodName>", true},
		{"/RPC2", utf16("<methodName>admin.user.add</methodName>"), true},
	} {
		if got := mayBePrivate(tt.path, []byte(tt.body)); got != tt.want {
			t.Errorf("%s %q: %v", tt.path, tt.body, got)
		}
	}
}
