// Plot draws what "make bench" measured as SVG: rates and waits by the number of clients, memory
// and disk by the number of operations, and what an operation costs by the number of cores. What
// the files do not have is not drawn.
//
//	go run ./bench/plot bench.json growth.json cores.json docs/performance
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

// A measurement is one of a case in a round.
type measurement struct {
	Rate float64 `json:"rate"`
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`

	Server float64 `json:"server"` // processor time for an operation, in microseconds
	Memory float64 `json:"memory"` // in MB, as are the next two
	Vault  float64 `json:"vault"`
	Log    float64 `json:"log"`
}

// A plot is drawn over a number of something.
type plot struct {
	file, title, unit string
	over              axis
	lines             []line
}

// An axis is what a plot is drawn over. Beside one that is logarithmic the other axis is, too.
type axis struct {
	name    string
	numbers []float64 // that are written below it, from its first one to its last one
	linear  bool
}

var (
	clients    = axis{"clients", []float64{1, 4, 16, 64, 256}, false}
	operations = axis{"operations", []float64{0, 250_000, 500_000, 750_000, 1_000_000}, true}
	cores      = axis{"cores", []float64{1, 2}, true}
)

// at is where a number is on the axis, from 0 to 1.
func (a *axis) at(n float64) float64 {
	first, last := a.numbers[0], a.numbers[len(a.numbers)-1]
	if a.linear {
		return (n - first) / (last - first)
	}
	return math.Log(n/first) / math.Log(last/first)
}

// A line joins the medians of a figure of a case.
type line struct {
	name, label, color string
	dashed             bool
	of                 func(measurement) float64
}

// The colours can be told from each other by those who see no red or no green (Okabe and Ito).
const (
	orange = "#d55e00"
	blue   = "#0072b2"
	green  = "#009e73"
	grey   = "#666666"
	purple = "#aa4499"
)

func plots() []plot {
	rate := func(m measurement) float64 { return m.Rate }
	p50 := func(m measurement) float64 { return m.P50 / 1e3 }
	p99 := func(m measurement) float64 { return m.P99 / 1e3 }
	server := func(m measurement) float64 { return m.Server }
	return []plot{
		{"rate.svg", "Operations a second by clients", "", clients, []line{
			{"deposit", "deposit", orange, false, rate},
			{"inquiry", "inquiry", blue, false, rate},
			{"bare", "bare", grey, false, rate},
			{"group", "group", green, false, rate},
			{"pgbench", "pgbench", purple, false, rate},
			{"python", "python", grey, true, rate},
		}},
		{"wait.svg", "Median wait of a deposit by clients, and p99 (dashed)", " ms", clients, []line{
			{"deposit", "deposit", orange, false, p50},
			{"deposit", "deposit, p99", orange, true, p99},
			{"bare", "bare", grey, false, p50},
			{"bare", "bare, p99", grey, true, p99},
		}},
		{"growth.svg", "Memory and disk by deposits", " MB", operations, []line{
			{"growth", "published log", blue, false, func(m measurement) float64 { return m.Log }},
			{"growth", "vault.db", green, false, func(m measurement) float64 { return m.Vault }},
			{"growth", "memory", orange, false, func(m measurement) float64 { return m.Memory }},
		}},
		{"cores.svg", "Processor time of the server for an operation, by cores", " µs", cores, []line{
			{"deposit by cores", "deposit", orange, false, server},
			{"inquiry by cores", "inquiry", blue, false, server},
			{"multicall by cores", "item of 100", green, false, server},
		}},
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("usage: plot FILE.JSON... FOLDER")
	}
	files, folder := args[:len(args)-1], args[len(args)-1]
	rounds := make(map[string][]measurement)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var measured struct {
			Rounds map[string][]measurement `json:"rounds"`
		}
		if err := json.Unmarshal(data, &measured); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		maps.Copy(rounds, measured.Rounds)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, p := range plots() {
		if !p.measured(rounds) {
			continue
		}
		err := os.WriteFile(filepath.Join(folder, p.file), []byte(p.draw(rounds)), 0o644)
		if err != nil {
			return err
		}
	}
	return nil
}

// measured reports whether there is something to draw.
func (p *plot) measured(rounds map[string][]measurement) bool {
	return slices.ContainsFunc(p.lines, func(l line) bool { return len(l.points(rounds)) > 0 })
}

// A point is a median.
type point struct{ number, value float64 }

// points are those of the line, by number.
func (l *line) points(rounds map[string][]measurement) (all []point) {
	for name, list := range rounds {
		before, number, _ := strings.Cut(name, "/")
		n, err := strconv.Atoi(number)
		if before != l.name || err != nil {
			continue
		}
		var values []float64
		for _, m := range list {
			values = append(values, l.of(m))
		}
		slices.Sort(values)
		all = append(all, point{float64(n), values[len(values)/2]})
	}
	slices.SortFunc(all, func(a, b point) int { return int(a.number - b.number) })
	return all
}

// The drawing, in pixels; the lines are within the margins.
const (
	width, height            = 720, 400
	left, right, top, bottom = 70, 120, 40, 50
	textSize, labelsApart    = 12, 14
)

func (p *plot) draw(rounds map[string][]measurement) string {
	lowest, highest := math.Inf(1), 0.0
	for _, l := range p.lines {
		for _, at := range l.points(rounds) {
			lowest, highest = min(lowest, at.value), max(highest, at.value)
		}
	}
	side := p.side(lowest, highest)
	x := func(number float64) float64 { return left + (width-left-right)*p.over.at(number) }
	y := func(value float64) float64 {
		return height - bottom - (height-top-bottom)*side.at(value)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" `+
		`font-family="sans-serif" font-size="%d">`+"\n<title>%s</title>\n"+
		`<rect width="%d" height="%d" fill="white"/>`+"\n"+
		`<text x="%d" y="24" font-size="15">%s</text>`+"\n",
		width, height, textSize, p.title, width, height, left, p.title)
	p.grid(&b, side.numbers, x, y)
	var labels []label
	for _, l := range p.lines {
		all := l.points(rounds)
		if len(all) == 0 {
			continue
		}
		var path strings.Builder
		for i, at := range all {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(i, 1)], x(at.number), y(at.value))
		}
		dashes := ""
		if l.dashed {
			dashes = ` stroke-dasharray="5 4"`
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"%s/>`+"\n",
			path.String(), l.color, dashes)
		end := all[len(all)-1]
		labels = append(labels, label{l, x(end.number) + 8, y(end.value) + 4})
	}
	for _, l := range apart(labels) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" fill="%s">%s</text>`+"\n", l.x, l.y, l.color,
			l.label)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// side is the axis at the side, for values from lowest to highest: each power of ten, or from
// four to ten steps from zero.
func (p *plot) side(lowest, highest float64) *axis {
	a := &axis{linear: p.over.linear}
	if !a.linear {
		lowest = math.Pow(10, -math.Ceil(-math.Log10(lowest)))
		for a.numbers = []float64{lowest}; lowest < highest; {
			lowest *= 10
			a.numbers = append(a.numbers, lowest)
		}
		return a
	}
	step := math.Pow(10, math.Trunc(math.Log10(highest)))
	if highest < 4*step {
		step /= 4
	}
	for n := 0.0; n < highest+step; n += step {
		a.numbers = append(a.numbers, n)
	}
	return a
}

// grid draws the lines of the numbers at the side, and the numbers beside and below.
func (p *plot) grid(b *strings.Builder, beside []float64, x, y func(float64) float64) {
	for _, value := range beside {
		fmt.Fprintf(b, `<path d="M%d %.1fH%d" stroke="#ddd"/>`+
			`<text x="%d" y="%.1f" text-anchor="end">%s%s</text>`+"\n",
			left, y(value), width-right, left-8, y(value)+4, thousands(value), p.unit)
	}
	for _, number := range p.over.numbers {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x(number),
			height-bottom+20, thousands(number))
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", width-right,
		height-8, p.over.name)
}

// A label stands at the end of a line.
type label struct {
	line
	x, y float64
}

// apart moves labels down that would lie on those above them.
func apart(labels []label) []label {
	slices.SortFunc(labels, func(a, b label) int { return cmp.Compare(a.y, b.y) })
	for i := 1; i < len(labels); i++ {
		labels[i].y = max(labels[i].y, labels[i-1].y+labelsApart)
	}
	return labels
}

// thousands writes a number with commas.
func thousands(n float64) string {
	text := strconv.FormatFloat(n, 'f', -1, 64)
	whole, rest, found := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if found {
		whole += "." + rest
	}
	return whole
}
