// Compare prints what make bench measured, as a table in Markdown, and beside it
// what an earlier run measured, when there is one: the medians, and how many times
// the earlier ones they are.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// A measured is the file of one run.
type measured struct {
	Rounds map[string][]struct {
		Rate float64 `json:"rate"`
		P50  float64 `json:"p50"`
		P99  float64 `json:"p99"`
		P999 float64 `json:"p999"`
		Load float64 `json:"cores"`
	} `json:"rounds"`
	Figures map[string]float64 `json:"figures"`
}

func run(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return errors.New("usage: compare [OLD.json] NEW.json")
	}
	var files []measured
	for _, name := range args {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var m measured
		if err := json.Unmarshal(data, &m); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		files = append(files, m)
	}
	last := files[len(files)-1]
	fmt.Println("| case / clients | a second | p50 ms | p99 ms | p99.9 ms | cores of the load |" +
		more(files, " before |"))
	fmt.Println("|---|---|---|---|---|---|" + more(files, "---|"))
	for _, name := range slices.SortedFunc(maps.Keys(last.Rounds), byClients) {
		row := fmt.Sprintf("| %s | %.0f | %s | %s | %s | %s |", strings.Replace(name, "/", " / ",
			1), last.median(name, rate),
			milliseconds(last.median(name, p50)), milliseconds(last.median(name, p99)),
			milliseconds(last.median(name, p999)), decimal(last.median(name, load)))
		if len(files) == 2 && len(files[0].Rounds[name]) > 0 {
			row += fmt.Sprintf(" %.2f × |", last.median(name, rate)/files[0].median(name, rate))
		}
		fmt.Println(row)
	}
	fmt.Println("\n| figure | |" + more(files, " before |"))
	fmt.Println("|---|---|" + more(files, "---|"))
	for _, name := range slices.Sorted(maps.Keys(last.Figures)) {
		row := fmt.Sprintf("| %s | %.3g |", name, last.Figures[name])
		if before, known := files[0].Figures[name]; known && len(files) == 2 {
			row += fmt.Sprintf(" %.3g |", before)
		}
		fmt.Println(row)
	}
	return nil
}

func more(files []measured, column string) string {
	if len(files) == 2 {
		return column
	}
	return ""
}

// byClients orders cases by name, and each by its number of clients.
func byClients(a, b string) int {
	nameA, clientsA, _ := strings.Cut(a, "/")
	nameB, clientsB, _ := strings.Cut(b, "/")
	if nameA != nameB {
		return strings.Compare(nameA, nameB)
	}
	if len(clientsA) != len(clientsB) {
		return len(clientsA) - len(clientsB)
	}
	return strings.Compare(clientsA, clientsB)
}

// A column of a round.
type column int

const (
	rate column = iota
	p50
	p99
	p999
	load
)

func (m *measured) median(name string, c column) float64 {
	var figures []float64
	for _, r := range m.Rounds[name] {
		figures = append(figures, [...]float64{r.Rate, r.P50, r.P99, r.P999, r.Load}[c])
	}
	if len(figures) == 0 {
		return 0
	}
	slices.Sort(figures)
	return figures[len(figures)/2]
}

func milliseconds(us float64) string {
	if us == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", us/1e3)
}

func decimal(n float64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", n)
}
