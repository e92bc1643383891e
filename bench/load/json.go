//go:build unix

package main

import "strconv"

// jsonPaths are where operations are called as JSON.
var jsonPaths = map[string]string{
	"inquiry": "/v1/inquiry", "deposit": "/v1/deposit", "multicall": "/v1/system.multicall",
}

// jsonSuccess tells that an operation went well.
var jsonSuccess = []byte(`"code":"OK"`)

// appendJSON appends the body of a call as JSON.
func (c *caller) appendJSON(b []byte) []byte {
	if c.op != "multicall" {
		return c.appendArguments(b)
	}
	b = append(b, `{"calls":[`...)
	for i := range perMulticall {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(c.appendArguments(append(b, `{"method":"deposit","params":`...)), '}')
	}
	return append(b, "]}"...)
}

// appendArguments appends the arguments of an inquiry or a deposit.
func (c *caller) appendArguments(b []byte) []byte {
	b = strconv.AppendUint(append(b, `{"account":`...), c.account(), 10)
	if c.op != "inquiry" {
		b = append(b, `,"amount":"0.01"`...)
		if !c.noIDs {
			b = append(c.appendID(append(b, `,"request_id":"`...)), '"')
		}
	}
	return append(b, '}')
}
