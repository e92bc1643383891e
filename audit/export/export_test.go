package export

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// exported are records of each kind of entry, and what an auditor finds in each.
func exported(t *testing.T) []*record {
	t.Helper()
	at := time.Date(2026, 5, 1, 10, 0, 0, 123456000, time.UTC)
	by := func(ip string) *atm.Caller {
		return &atm.Caller{
			Principal:  atm.Principal{Subject: "user:operator", Roles: []atm.Role{"operator"}},
			Credential: atm.Credential{Method: "digest", User: "operator"}, IP: ip,
		}
	}
	args := func(pairs ...string) (list []audit.Arg) {
		for pair := range slices.Chunk(pairs, 2) {
			list = append(list, audit.Arg{Name: pair[0], Value: pair[1]})
		}
		return list
	}
	ok := &atm.Status{Code: atm.OK}
	entries := []audit.Entry{
		{Event: audit.EventStart, Program: &audit.Program{Version: "1"}},
		{
			Event: audit.EventOp, Operation: atm.Transfer, Args: args("from", "100", "to", "200",
				"amount", "12.50"),
			Caller: by("192.0.2.7"), Status: ok,
			State: []audit.Change{
				{Account: "100", Version: 2, Before: 10000, After: 8750},
				{Account: "200", Version: 1, After: 1250},
			},
		},
		{
			Event: audit.EventOp, Operation: atm.Transfer, Args: args("from", "100", "to", "200",
				"amount", "9999"),
			Caller: by("2001:db8::7"), Status: &atm.Status{
				Code:   atm.InsufficientFunds,
				Reason: "Insufficient Funds",
			},
		},
		{
			Event: audit.EventOp, Operation: atm.Deposit, Args: args("account", "100", "amount",
				"5"), Caller: by("192.0.2.7"), Status: ok,
			State: []audit.Change{
				{Account: "cash:user:demo", Version: 2, After: -500},
				{Account: "100", Version: 3, Before: 8750, After: 9250},
			},
		},
		{
			Event: audit.EventAdmin, Operation: atm.AccountOpen, Caller: by("192.0.2.7"),
			Status: ok,
			Args:   args("account", "200", "owner", "user:alice", "opening", "5.00"),
			State: []audit.Change{
				{Account: "equity:opening", Version: 2, After: -500},
				{Account: "200", Version: 1, After: 500},
			},
		},
		{Event: audit.EventAdmin, Operation: atm.CertIssue, Args: args("subject", "service:billing",
			"roles", "teller auditor", "request", "…"), Caller: by("192.0.2.7"), Status: ok},
		{
			Event: audit.EventAdmin, Operation: atm.GrantCreate, Args: args("account", "200", "to",
				"service:billing", "cap", "10", "operations", "withdraw"), Caller: by("192.0.2.7"),
			Status: ok,
		},
		{
			Event: audit.EventAdmin, Operation: atm.GrantRevoke, Args: args("jti", "G1"),
			Caller: by("192.0.2.7"), Status: ok,
		},
		{
			Event: audit.EventAdmin, Operation: atm.TokenRevoke, Args: args("jti", "T1"),
			Caller: by("192.0.2.7"), Status: ok,
		},
		{
			Event: audit.EventAdmin, Operation: atm.CertRevoke, Args: args("serial", "ab12"),
			Caller: by("192.0.2.7"), Status: ok,
		},
		{
			Event: audit.EventAuthFail, Reason: "digest of a wrong user or password",
			Source: "192.0.2.9",
		},
		{
			Event: audit.EventAuthFail, Reason: `unknown certificate CN=a|b\c "é"`,
			Source: "2001:db8::9",
		},
		{
			Event: audit.EventAuthFailSummary, Source: "192.0.2.0/24", Reason: "wrong password",
			Summary: &audit.Summary{N: 5_000_000_000, First: at, Last: at.Add(time.Minute)},
		},
		{
			Event:   audit.EventDeniedSummary,
			Caller:  &atm.Caller{Principal: atm.Principal{Subject: "user:bob"}},
			Summary: &audit.Summary{N: 7, First: at, Last: at.Add(time.Minute)},
		},
		{
			Event: audit.EventOp, Operation: atm.Inquiry,
			Args: args("account", "9\ncs1=1 cs2=2|a\\b=c\u2028=1+1"), Caller: by("192.0.2.7"),
			Status: &atm.Status{Code: atm.AccountNotFound, Reason: "Unknown account 9\n=1"},
		},
		{
			Event: audit.EventOp, Operation: atm.Reverse, Args: args("index", "3"), Reverses: 3,
			Caller: by("192.0.2.7"), Status: ok,
			State: []audit.Change{
				{Account: "100", Version: 4, Before: 9250, After: 8750},
				{Account: "cash:user:demo", Version: 3, Before: -500, After: 0},
			},
		},
		{
			Event: audit.EventOp, Operation: atm.OrderCreate, Args: args("account", "100",
				"amount", "25.00", "every", "month", "on", "1", "to", "200"),
			Caller: by("192.0.2.7"), Status: ok,
		},
	}
	records := make([]*record, len(entries))
	for i := range entries {
		e := &entries[i]
		e.ID, e.Time, e.ReplayOf = fmt.Sprintf("01a22688-84f6-782c-ad67-%012x", i),
			at.Add(time.Duration(i)*time.Second), -1
		leaf, err := e.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if records[i], err = newRecord(int64(i), leaf, "atm.example/audit",
			"test"); err != nil {
			t.Fatal(err)
		}
	}
	return records
}

// lines writes the records in a form, and returns its lines.
func lines(t *testing.T, records []*record, write func(io.Writer, *record) error) []string {
	t.Helper()
	var b bytes.Buffer
	for _, r := range records {
		if err := write(&b, r); err != nil {
			t.Fatal(err)
		}
	}
	list := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(list) != len(records) {
		t.Fatalf("%d lines for %d records", len(list), len(records))
	}
	return list
}

func TestExportAnswersAnAuditor(t *testing.T) {
	records := exported(t)
	text := strings.Join(lines(t, records, writeCSV), "\n")
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []map[string]string{
		0: {"event": "start", "who": "", "status": ""},
		1: {
			"from": "100", "to": "200", "amount": "12.50", "account": "", "who": "user:operator",
			"address": "192.0.2.7", "status": "OK",
		},
		2: {
			"from": "100", "to": "200", "amount": "9999", "status": "ERROR",
			"code": "INSUFFICIENT_FUNDS", "reason": "Insufficient Funds",
		},
		3: {"account": "100", "from": "cash:user:demo", "to": "100", "amount": "5"},
		4: {
			"account": "200", "from": "equity:opening", "to": "200", "amount": "5.00",
			"target": "user:alice account:200",
		},
		5: {"target": "service:billing roles:teller,auditor"},
		6: {"target": "service:billing account:200", "from": "", "to": ""},
		7: {"target": "grant:G1"},
		8: {"target": "token:T1"},
		9: {"target": "certificate:ab12"},
		10: {
			"address": "192.0.2.9", "reason": "digest of a wrong user or password",
			"status": "ERROR",
		},
		11: {"address": "2001:db8::9", "reason": `unknown certificate CN=a|b\c "é"`},
		12: {"address": "192.0.2.0/24", "reason": "wrong password", "count": "5000000000"},
		13: {"who": "user:bob", "count": "7", "status": "ERROR"},
		14: {"reason": `Unknown account 9\u000a=1`},
		15: {"from": "100", "to": "cash:user:demo", "amount": "5.00", "account": ""},
		16: {"account": "100", "from": "", "to": ""}, // nothing has moved yet
	} {
		got := make(map[string]string)
		for j, column := range exportColumns {
			got[column] = rows[i][j]
		}
		want["index"], want["receipt"] = strconv.Itoa(i), strconv.Itoa(i)+" "+
			merkle.LeafHash(records[i].leaf).String()
		for column, value := range want {
			if got[column] != value {
				t.Errorf("row %d: %s is %q, want %q", i, column, got[column], value)
			}
		}
	}
}

func TestExportedEntryIsTheLeaf(t *testing.T) {
	records := exported(t)
	for i, line := range lines(t, records, writeJSONL) {
		var row struct {
			Index    int64           `json:"index"`
			LeafHash string          `json:"leaf_hash"`
			Entry    json.RawMessage `json:"entry"`
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		if row.Index != int64(i) || row.LeafHash != merkle.LeafHash(row.Entry).String() ||
			!bytes.Equal(row.Entry, records[i].leaf) {
			t.Errorf("row %d: %s", i, line)
		}
	}
}

// TestEventsKeepTheSchemaOfOCSF validates each event against the schema of its class.
func TestEventsKeepTheSchemaOfOCSF(t *testing.T) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile("testdata/ocsf-1.3.0.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	records := exported(t)
	for i, line := range lines(t, records, writeOCSF) {
		event, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(event); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		fields := event.(map[string]any)
		unmapped := fields["unmapped"].(map[string]any)
		if fmt.Sprint(unmapped["index"]) != strconv.Itoa(i) ||
			unmapped["leaf_hash"] != records[i].hash.String() {
			t.Errorf("%s: index and hash are not those of the leaf", line)
		}
		class := "6003"
		if records[i].isSignIn() {
			class = "3002"
			if fields["status_detail"] != records[i].reason || fields["status"] != "Failure" ||
				fields["src_endpoint"] == nil {
				t.Errorf("%s: it does not say why and from where", line)
			}
		}
		if fmt.Sprint(fields["class_uid"]) != class {
			t.Errorf("%s: the class is not %s", line, class)
		}
		// The schema is strict enough to find a mistake.
		for _, flaw := range []func(map[string]any){
			func(m map[string]any) { delete(m, "time") },
			func(m map[string]any) { m["time"] = "now" },
			func(m map[string]any) { m["severity_id"] = json.Number("7") },
			func(m map[string]any) { m["type_uid"] = json.Number("600301") },
			func(m map[string]any) { m["src_endpoint"] = map[string]any{"ip": "192.0.2.0/24"} },
			func(m map[string]any) { m["sourceEndpoint"] = map[string]any{} },
		} {
			again, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
			if err != nil {
				t.Fatal(err)
			}
			flaw(again.(map[string]any))
			if schema.Validate(again) == nil {
				t.Errorf("a mistake keeps the schema: %v", again)
			}
		}
	}
}

// cefKeys are the keys of the CEF dictionary that an export uses, with the length of the
// longest value; 0 is for values that are no text.
var cefKeys = map[string]int{
	"externalId": 40, "rt": 0, "dvchost": 100, "cat": 1023, "suser": 1023, "duser": 1023, "src": 0,
	"c6a2":      0,
	"c6a2Label": 1023, "flexString1": 1023, "flexString1Label": 128, "outcome": 63, "reason": 1023,
	"cnt": 0,
	"cs1": 4000, "cs2": 4000, "cs3": 4000, "cs4": 4000, "cs5": 4000, "cs6": 4000,
	"cs1Label": 1023, "cs2Label": 1023, "cs3Label": 1023, "cs4Label": 1023, "cs5Label": 1023,
	"cs6Label": 1023,
}

var cefKey = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*$`)

// parseCEF reads a line by the rules of the Common Event Format, revision 25: eight fields
// of a header, in which \ and | are escaped, and pairs of key and value, in which \ and =
// are. It accepts nothing that the rules leave to the reader.
func parseCEF(line string) (header []string, fields map[string]string, err error) {
	rest, ok := strings.CutPrefix(line, "CEF:")
	if !ok {
		return nil, nil, fmt.Errorf("it does not begin with CEF:")
	}
	var field strings.Builder
	for len(header) < 7 {
		switch {
		case rest == "":
			return nil, nil, fmt.Errorf("its header has %d fields", len(header))
		case rest[0] == '|':
			header = append(header, field.String())
			field.Reset()
			rest = rest[1:]
		case rest[0] == '\\':
			if len(rest) < 2 || rest[1] != '\\' && rest[1] != '|' {
				return nil, nil, fmt.Errorf("its header has an escape that is none")
			}
			field.WriteByte(rest[1])
			rest = rest[2:]
		default:
			field.WriteByte(rest[0])
			rest = rest[1:]
		}
	}
	if severity, err := strconv.Atoi(header[6]); err != nil || severity < 0 || severity > 10 {
		return nil, nil, fmt.Errorf("severity %q", header[6])
	}
	// A key begins after the last space before an = that is not escaped.
	fields = make(map[string]string)
	key, value, raw := "", "", ""
	add := func() error {
		if _, known := cefKeys[key]; !known {
			return fmt.Errorf("key %q is not in the dictionary", key)
		}
		if _, twice := fields[key]; twice {
			return fmt.Errorf("key %s stands twice", key)
		}
		fields[key] = value
		return nil
	}
	for ; rest != ""; rest = rest[1:] {
		switch {
		case rest[0] == '\\':
			if len(rest) < 2 || !strings.ContainsRune(`\=nr`, rune(rest[1])) {
				return nil, nil, fmt.Errorf("an escape that is none: %.10q", rest)
			}
			raw, value, rest = raw+rest[:2], value+rest[1:2], rest[1:]
		case rest[0] == '=':
			cut := strings.LastIndexByte(raw, ' ')
			name := raw[cut+1:]
			if !cefKey.MatchString(name) {
				return nil, nil, fmt.Errorf("an = that is not escaped after %q", name)
			}
			if key != "" {
				value = strings.TrimSuffix(value, " "+name)
				if err := add(); err != nil {
					return nil, nil, err
				}
			}
			key, value, raw = name, "", ""
		default:
			raw, value = raw+rest[:1], value+rest[:1]
		}
	}
	return header, fields, add()
}

func TestEventsKeepTheRulesOfCEF(t *testing.T) {
	records := exported(t)
	for i, line := range lines(t, records, writeCEF) {
		header, fields, err := parseCEF(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		r := records[i]
		if header[0] != "0" || header[1] != "atm" || header[2] != "atmserver" ||
			header[4] != r.name() {
			t.Errorf("%s: its header is %q", line, header)
		}
		for key, value := range fields {
			if most := cefKeys[key]; most > 0 && (len([]rune(value)) > most || value == "") {
				t.Errorf("%s: %s has %d characters, of at most %d", line, key, len(value), most)
			}
			if label := key + "Label"; cefKeys[label] > 0 && fields[label] == "" {
				t.Errorf("%s: %s has no label", line, key)
			}
			var err error
			switch key {
			case "rt":
				_, err = strconv.ParseUint(value, 10, 63)
			case "cnt":
				_, err = strconv.ParseInt(value, 10, 32)
			case "src", "c6a2":
				var addr netip.Addr
				if addr, err = netip.ParseAddr(value); err == nil && addr.Is4() != (key == "src") {
					err = fmt.Errorf("%s is of the other family", value)
				}
			}
			if err != nil {
				t.Errorf("%s: %s: %v", line, key, err)
			}
		}
		if fields["externalId"] != strconv.Itoa(i) || fields["cs5"] != r.hash.String() ||
			fields["cs5Label"] != "leafHash" {
			t.Errorf("%s: index and hash are not those of the leaf", line)
		}
		if fields["suser"] != r.who || fields["duser"] != r.subject ||
			fields["outcome"] != r.outcome || fields["cs3"] != r.from || fields["cs4"] != r.to {
			t.Errorf("%s: it says something else than %+v", line, r)
		}
		if address := fields["src"] + fields["c6a2"] + fields["flexString1"]; address != r.address {
			t.Errorf("%s: the address is %q, not %q", line, address, r.address)
		}
		if r.isSignIn() && fields["reason"] != r.reason {
			t.Errorf("%s: the reason is %q, not %q", line, fields["reason"], r.reason)
		}
	}
}

// TestParserOfCEFIsStrict makes sure that the test above can fail.
func TestParserOfCEFIsStrict(t *testing.T) {
	for _, line := range []string{
		"", "CEF:0|a|b|c|d|e|3", "CEF:0|a|b|c|d|e|11|cat=x", "CEF:0|a|b|c|d|e|high|cat=x",
		`CEF:0|a\x|b|c|d|e|3|cat=x`,
		"CEF:0|a|b|c|d|e|3|cat=x cat=y", "CEF:0|a|b|c|d|e|3|kitten=x",
		"CEF:0|a|b|c|d|e|3|cat=1+1=2", `CEF:0|a|b|c|d|e|3|cat=\x`,
		"CEF:0|a|b|c|d|e|3|",
	} {
		if _, fields, err := parseCEF(line); err == nil {
			t.Errorf("%q is read as %v", line, fields)
		}
	}
	_, fields, err := parseCEF(`CEF:0|a\|b|c\\d|e|f|g|3|cat=a b\=c|d suser=e\\f `)
	if err != nil || fields["cat"] != "a b=c|d" || fields["suser"] != `e\f ` {
		t.Errorf("%q, %v", fields, err)
	}
}
