package console

import (
	_ "embed" // the page
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

//go:embed offline/verify.html
var offlineSource string

// importLine is what a module says it needs of another one, which stands in the same file here.
var importLine = regexp.MustCompile(`(?m)^import .*\n`)

// newOffline returns a page that verifies slips from a disk, with no network and no server: in
// one file, since a browser loads no modules from a disk.
func newOffline() ([]byte, error) {
	var script []byte
	for _, name := range []string{"tlog.mjs", "slips.mjs"} {
		part, err := assetFiles.ReadFile("assets/" + name)
		if err != nil {
			return nil, err
		}
		script = append(script, importLine.ReplaceAll(part, nil)...)
	}
	style, err := assetFiles.ReadFile("assets/console.css")
	if err != nil {
		return nil, err
	}
	return []byte(strings.NewReplacer(
		"/*STYLE*/", string(style),
		"/*SCRIPT*/", strings.ReplaceAll(string(script), "\nexport ", "\n"),
	).Replace(offlineSource)), nil
}

// sendOffline sends the page to be saved. It is not shown here: its script stands in it.
func sendOffline(v *visit) {
	attach(v, "verify.html", "text/html; charset=utf-8")
	v.w.Write(v.offline)
}

// attach makes the answer a file to be saved.
func attach(v *visit, name, kind string) {
	v.w.Header().Set("Content-Type", kind)
	v.w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
}

// A savedSlip is what the console saves of an entry, for verify.html and other programs.
type savedSlip struct {
	Index int64 `json:"index"`
	// its bytes as they were hashed, if the caller may see them
	Entry string `json:"entry,omitempty"`
	Leaf  string `json:"leaf"`  // its hash, in base64
	Proof string `json:"proof"` // a C2SP tlog-proof
}

// saveSlip sends a slip as a file.
func saveSlip(v *visit, index string) {
	slip, ok := provenSlip(v, index)
	if !ok {
		return
	}
	attach(v, "slip-"+index+".json", "application/json")
	enc := json.NewEncoder(v.w)
	enc.SetIndent("", "  ")
	enc.Encode(slip)
}
