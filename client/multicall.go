package client

import (
	"context"
	"fmt"

	"example.com/atm"
)

// MaxReadings is the largest number of calls in one multicall.
const MaxReadings = 100

// A Reading is a call of a method without effects.
type Reading struct {
	Method atm.Operation
	Args   []any
}

// Readings carries out up to MaxReadings calls in one request, and returns their answers in the
// same order. All of them may be sent repeatedly.
func (c *Client) Readings(ctx context.Context, calls []Reading) ([]*Answer, error) {
	items := make([]any, len(calls))
	for i, call := range calls {
		items[i] = map[string]any{"methodName": string(call.Method), "params": call.Args}
	}
	reply, err := c.Call(ctx, "system.multicall", items)
	if err != nil {
		return nil, err
	}
	results, _ := reply.Result.([]any)
	if len(results) != len(calls) {
		return nil, fmt.Errorf("a multicall of %d calls has %d answers", len(calls), len(results))
	}
	answers := make([]*Answer, len(calls))
	for i, result := range results {
		if answers[i], err = itemOf(result); err != nil {
			return nil, fmt.Errorf("%s: %w", calls[i].Method, err)
		}
	}
	return answers, nil
}

// itemOf reads one result of a multicall: an array with a status dict, or a fault.
func itemOf(result any) (*Answer, error) {
	if fault, ok := result.(map[string]any); ok {
		code, _ := fault["faultCode"].(int64)
		text, _ := fault["faultString"].(string)
		return nil, &FaultError{Code: int(code), Text: text}
	}
	if one, ok := result.([]any); ok && len(one) == 1 {
		if dict, ok := one[0].(map[string]any); ok {
			return answerOf(dict)
		}
	}
	return nil, fmt.Errorf("decode the answer: %T is no answer of a multicall", result)
}
