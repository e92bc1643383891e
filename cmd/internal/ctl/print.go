package ctl

import (
	"fmt"
	"strings"

	"example.com/atm/cmd/internal/output"
	"example.com/atm/internal/printable"
)

// Tell prints a result as JSON or as a line.
func (env *Env) Tell(result any, format string, args ...any) error {
	if env.IsJSON() {
		return env.WriteJSON(result)
	}
	return printable.Linef(env.Stdout, strings.TrimSuffix(format, "\n"), args...)
}

// Print prints a list of records as a table of these columns, or in a form for programs.
func (env *Env) Print(columns []string, records []any) error {
	if env.IsJSON() {
		array := output.NewArray(env.Stdout, env.Output)
		for _, record := range records {
			if err := array.AddValue(record); err != nil {
				return err
			}
		}
		return array.End()
	}
	rows := make([][]string, len(records))
	for i, record := range records {
		fields, _ := record.(map[string]any)
		for _, column := range columns {
			text := output.Words(fields[column])
			if limits, is := fields[column].(map[string]any); is {
				text = limitsInWords(limits)
			}
			rows[i] = append(rows[i], text)
		}
	}
	return env.Table(columns, rows)
}

// PrintOne prints one record. For programs it is an object, not a list of one.
func (env *Env) PrintOne(columns []string, record any) error {
	if env.IsJSON() {
		return env.WriteJSON(record)
	}
	return env.Print(columns, []any{record})
}

// Table prints rows.
func (env *Env) Table(columns []string, rows [][]string) error {
	t := output.NewTable(env.Stdout, !env.NoPager, columns...)
	for _, row := range rows {
		t.Row(row...)
	}
	return t.Flush()
}

// limitsInWords describes the limits of an account in a table.
func limitsInWords(of map[string]any) string {
	var parts []string
	add := func(name, format string) {
		if text := output.Words(of[name]); text != "" {
			parts = append(parts, fmt.Sprintf(format, text))
		}
	}
	add("per_operation", "%s at once")
	add("daily_amount", "%s a day")
	add("daily_count", "%s times a day")
	if len(parts) == 0 {
		return ""
	}
	if zone := output.Words(of["zone"]); zone != "UTC" {
		parts = append(parts, zone)
	}
	return strings.Join(parts, ", ")
}
