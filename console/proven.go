package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
)

// provenMost bounds the slips in one file: each of them has a proof of its own.
const provenMost = 500

// A provenFile has several entries with their proofs, the oldest first, for verify.html and other
// programs.
type provenFile struct {
	// of a statement
	Account string `json:"account,omitempty"`
	Opening string `json:"opening,omitempty"`
	Closing string `json:"closing,omitempty"`
	Whole   bool   `json:"whole,omitempty"` // all movements between the two balances are there

	Slips []savedSlip `json:"slips"`
}

// send sends the file with the slips of these entries, or shows why it cannot.
func (f *provenFile) send(v *visit, name string, indexes []int64) {
	if len(indexes) > provenMost {
		v.refuse(http.StatusUnprocessableEntity, fmt.Sprintf("There are more than %d entries. "+
			"Choose a shorter time, or a filter.", provenMost))
		return
	}
	f.Slips = []savedSlip{} // an empty list is no null
	for _, index := range indexes {
		slip, ok := provenSlip(v, strconv.FormatInt(index, 10))
		if !ok {
			return
		}
		f.Slips = append(f.Slips, slip)
	}
	attach(v, name, "application/json")
	json.NewEncoder(v.w).Encode(f)
}

// provenSlip reads an entry and its proof, or shows why it cannot.
func provenSlip(v *visit, index string) (savedSlip, bool) {
	page, ok := readEntry(v, index)
	if !ok {
		return savedSlip{}, false
	}
	if page.Proof == "" {
		v.refuse(http.StatusServiceUnavailable,
			"The entry has no proof yet. Try again in a second.")
		return savedSlip{}, false
	}
	return savedSlip{page.Index, page.Leaf, page.Hash, page.Proof}, true
}

// saveProvenStatement sends a statement that verify.html checks.
func saveProvenStatement(v *visit, number string) {
	s, ok := wholeStatement(v, number)
	if !ok {
		return
	}
	indexes := make([]int64, len(s.Movements))
	for i, m := range s.Movements {
		indexes[i] = m.Index
	}
	f := provenFile{
		Account: number, Opening: s.Opening.String(), Closing: s.Closing.String(), Whole: true,
	}
	f.send(v, "statement-"+number+".json", indexes)
}

// saveProvenLog sends the newest entries that fit, as a file that verify.html checks.
func saveProvenLog(v *visit) {
	if !v.may(atm.AuditList) {
		v.refuse(http.StatusForbidden, mayNot)
		return
	}
	f := filterOf(v.r.URL.Query(), time.Now())
	found, problem, ok := findEntries(v, &f, provenMost, "")
	if !ok {
		return
	}
	if problem != "" || found.next != "" {
		v.refuse(http.StatusUnprocessableEntity, strings.TrimSpace(fmt.Sprintf("%s A file with "+
			"proofs has at most %d entries. Add a filter, such as since.", problem, provenMost)))
		return
	}
	indexes := make([]int64, len(found.found))
	for i, e := range found.found {
		indexes[i] = e.index
	}
	slices.Sort(indexes)
	new(provenFile).send(v, "audit-proven.json", indexes)
}
