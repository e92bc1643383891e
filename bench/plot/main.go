// Plot draws what "make bench" measured as SVG: rates and waits by the number of clients.
//
//	go run ./bench/plot bench.json docs/performance
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
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
}

// A plot is drawn over the number of clients. Both axes are logarithmic.
type plot struct {
	file, title, unit string
	lines             []line
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
	return []plot{
		{"rate.svg", "Operations a second by clients", "", []line{
			{"deposit", "deposit", orange, false, rate},
			{"inquiry", "inquiry", blue, false, rate},
			{"bare", "bare", grey, false, rate},
			{"group", "group", green, false, rate},
			{"pgbench", "pgbench", purple, false, rate},
			{"python", "python", grey, true, rate},
		}},
		{"wait.svg", "Median wait of a deposit by clients, and p99 (dashed)", " ms", []line{
			{"deposit", "deposit", orange, false, p50},
			{"deposit", "deposit, p99", orange, true, p99},
			{"bare", "bare", grey, false, p50},
			{"bare", "bare, p99", grey, true, p99},
		}},
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: plot BENCH.JSON FOLDER")
	}
	data, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var measured struct {
		Rounds map[string][]measurement `json:"rounds"`
	}
	if err := json.Unmarshal(data, &measured); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	if err := os.MkdirAll(args[1], 0o755); err != nil {
		return err
	}
	for _, p := range plots() {
		err := os.WriteFile(filepath.Join(args[1], p.file), []byte(p.draw(measured.Rounds)), 0o644)
		if err != nil {
			return err
		}
	}
	return nil
}

// A point is a median.
type point struct{ clients, value float64 }

// points are those of the line, by clients.
func (l *line) points(rounds map[string][]measurement) (all []point) {
	for name, list := range rounds {
		before, clients, _ := strings.Cut(name, "/")
		n, err := strconv.Atoi(clients)
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
	slices.SortFunc(all, func(a, b point) int { return int(a.clients - b.clients) })
	return all
}

// The drawing, in pixels; the lines are within the margins.
const (
	width, height            = 720, 400
	left, right, top, bottom = 70, 120, 40, 50
	textSize, labelsApart    = 12, 14
	mostClients              = 256
)

func (p *plot) draw(rounds map[string][]measurement) string {
	lowest, highest := math.Inf(1), 0.0
	for _, l := range p.lines {
		for _, at := range l.points(rounds) {
			lowest, highest = min(lowest, at.value), max(highest, at.value)
		}
	}
	lowest = math.Pow(10, -math.Ceil(-math.Log10(lowest)))
	highest = math.Pow(10, math.Ceil(math.Log10(highest)))
	x := func(clients float64) float64 {
		return left + (width-left-right)*math.Log(clients)/math.Log(mostClients)
	}
	y := func(value float64) float64 {
		return height - bottom - (height-top-bottom)*math.Log(value/lowest)/
			math.Log(highest/lowest)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" `+
		`font-family="sans-serif" font-size="%d">`+"\n<title>%s</title>\n"+
		`<rect width="%d" height="%d" fill="white"/>`+"\n"+
		`<text x="%d" y="24" font-size="15">%s</text>`+"\n",
		width, height, textSize, p.title, width, height, left, p.title)
	p.grid(&b, lowest, highest, x, y)
	var labels []label
	for _, l := range p.lines {
		all := l.points(rounds)
		if len(all) == 0 {
			continue
		}
		var path strings.Builder
		for i, at := range all {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(i, 1)], x(at.clients), y(at.value))
		}
		dashes := ""
		if l.dashed {
			dashes = ` stroke-dasharray="5 4"`
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"%s/>`+"\n",
			path.String(), l.color, dashes)
		end := all[len(all)-1]
		labels = append(labels, label{l, x(end.clients) + 8, y(end.value) + 4})
	}
	for _, l := range apart(labels) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" fill="%s">%s</text>`+"\n", l.x, l.y, l.color,
			l.label)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// grid draws the lines of each power of ten, and the numbers beside and below.
func (p *plot) grid(b *strings.Builder, lowest, highest float64, x, y func(float64) float64) {
	for value := lowest; value <= highest*1.01; value *= 10 {
		fmt.Fprintf(b, `<path d="M%d %.1fH%d" stroke="#ddd"/>`+
			`<text x="%d" y="%.1f" text-anchor="end">%s%s</text>`+"\n",
			left, y(value), width-right, left-8, y(value)+4, thousands(value), p.unit)
	}
	for _, clients := range []float64{1, 4, 16, 64, 256} {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`+"\n", x(clients),
			height-bottom+20, clients)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">clients</text>`+"\n", width-right,
		height-8)
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
