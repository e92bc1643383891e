package documents

import (
	"cmp"
	"encoding/xml"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"example.com/atm"
)

// currency is that of every account.
const currency = "USD"

// The longest texts that camt.053 takes.
const (
	maxID   = 35 // of an institution
	maxName = 140
	maxInfo = 500
)

// A camt is a file in the form camt.053.001.08 that is being written.
type camt struct {
	lines []Line
	open  []string // elements
	entry int64
}

// begin begins an element.
func (c *camt) begin(name string) {
	tag := name
	if len(c.open) == 0 {
		tag += ` xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"`
	}
	c.put("<" + tag + ">")
	c.open = append(c.open, name)
}

// end ends the innermost elements, as many as are named.
func (c *camt) end(names ...string) {
	for range names {
		last := len(c.open) - 1
		name := c.open[last]
		c.open = c.open[:last]
		c.put("</" + name + ">")
	}
}

// text writes an element with a text.
func (c *camt) text(name, text string) {
	c.put("<" + name + ">" + escape(text) + "</" + name + ">")
}

// money writes an amount, and which side it is on.
func (c *camt) money(amount atm.Amount) {
	side := "CRDT"
	if amount < 0 {
		side, amount = "DBIT", -amount
	}
	c.put(`<Amt Ccy="` + currency + `">` + amount.String() + "</Amt>")
	c.text("CdtDbtInd", side)
}

func (c *camt) put(text string) {
	c.lines = append(c.lines, Line{strings.Repeat(" ", len(c.open)) + text, c.entry})
}

func escape(text string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}

// shortened is the beginning of text, at most so many characters.
func shortened(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most])
}

// camt writes the statement as a bank sends it to a company: the two balances, what was moved in
// all, and the movements.
func (s *Statement) camt() []Line {
	c := &camt{entry: -1}
	c.put(`<?xml version="1.0" encoding="UTF-8"?>`)
	c.begin("Document")
	c.begin("BkToCstmrStmt")
	c.begin("GrpHdr")
	c.text("MsgId", s.id())
	c.text("CreDtTm", written(s.Created))
	c.end("GrpHdr")
	c.begin("Stmt")
	c.text("Id", s.id())
	c.text("CreDtTm", written(s.Created))
	from, to := s.period()
	c.begin("FrToDt")
	c.text("FrDtTm", written(from))
	c.text("ToDtTm", written(to))
	c.end("FrToDt")
	c.account(s)
	c.balance("OPBD", s.Opening, from)
	c.balance("CLBD", s.Closing, to)
	c.summary(s.Movements)
	for _, m := range slices.Backward(s.Movements) {
		c.movement(&m)
	}
	c.entry = -1
	c.end("Stmt", "BkToCstmrStmt", "Document")
	return c.lines
}

// period is the time that the statement is about. It ends when the statement was made, if it was
// asked for without an end, and begins with its first movement without a beginning.
func (s *Statement) period() (from, to time.Time) {
	from, to = s.Created, s.Created
	if n := len(s.Movements); n > 0 {
		from = s.Movements[n-1].Time
	}
	if t, err := atm.ParseTime(s.From); err == nil {
		from = t
	}
	if t, err := atm.ParseTime(s.To); err == nil {
		to = t
	}
	if to.Before(from) { // it was asked for what is to come
		to = from
	}
	return from, to
}

func (c *camt) account(s *Statement) {
	c.begin("Acct")
	c.begin("Id")
	c.begin("Othr")
	c.text("Id", s.Account)
	c.end("Othr", "Id")
	c.text("Ccy", currency)
	c.begin("Svcr")
	c.begin("FinInstnId")
	c.text("Nm", shortened(s.Bank, maxName))
	c.begin("Othr")
	c.text("Id", shortened(s.Bank, maxID))
	c.end("Othr", "FinInstnId", "Svcr", "Acct")
}

func (c *camt) balance(kind string, amount atm.Amount, at time.Time) {
	c.begin("Bal")
	c.begin("Tp")
	c.begin("CdOrPrtry")
	c.text("Cd", kind)
	c.end("CdOrPrtry", "Tp")
	c.money(amount)
	c.begin("Dt")
	c.text("DtTm", written(at))
	c.end("Dt", "Bal")
}

// summary writes how many movements there are on each side, and their sums.
func (c *camt) summary(movements []Movement) {
	var in, out, sumIn, sumOut atm.Amount // the first two count
	for _, m := range movements {
		if m.Amount < 0 {
			out, sumOut = out+1, sumOut-m.Amount
		} else {
			in, sumIn = in+1, sumIn+m.Amount
		}
	}
	c.begin("TxsSummry")
	for _, side := range []struct {
		name   string
		n, sum atm.Amount
	}{
		{"TtlNtries", in + out, sumIn + sumOut},
		{"TtlCdtNtries", in, sumIn},
		{"TtlDbtNtries", out, sumOut},
	} {
		c.begin(side.name)
		c.text("NbOfNtries", strconv.FormatInt(int64(side.n), 10))
		c.text("Sum", side.sum.String())
		c.end(side.name)
	}
	c.end("TxsSummry")
}

func (c *camt) movement(m *Movement) {
	c.entry = m.Index
	reference := strconv.FormatInt(m.Index, 10)
	c.begin("Ntry")
	c.text("NtryRef", reference)
	c.money(m.Amount)
	if m.Reverses > 0 {
		c.text("RvslInd", "true")
	}
	c.begin("Sts")
	c.text("Cd", "BOOK")
	c.end("Sts")
	c.begin("BookgDt")
	c.text("DtTm", written(m.Time))
	c.end("BookgDt")
	c.text("AcctSvcrRef", reference)
	c.begin("BkTxCd")
	c.begin("Prtry")
	c.text("Cd", shortened(cmp.Or(string(m.Operation), "-"), maxID))
	c.end("Prtry", "BkTxCd")
	c.begin("NtryDtls")
	c.begin("TxDtls")
	c.begin("Refs")
	c.text("AcctSvcrRef", reference)
	c.end("Refs")
	c.party(m)
	if m.Memo != "" {
		c.begin("RmtInf")
		c.text("Ustrd", m.Memo)
		c.end("RmtInf")
	}
	c.end("TxDtls", "NtryDtls")
	more := "balance " + m.Balance.String() + ", counterparty " + cmp.Or(m.Counterparty, "-")
	if m.Reverses > 0 {
		more += ", reverses entry " + strconv.FormatInt(m.Reverses, 10)
	}
	c.text("AddtlNtryInf", shortened(more, maxInfo))
	c.end("Ntry")
}

// party writes the account of the other side, if it is one of a customer.
func (c *camt) party(m *Movement) {
	if _, ok := atm.ParseAccountID(m.Counterparty); !ok {
		return
	}
	side := "DbtrAcct" // the money came from there
	if m.Amount < 0 {
		side = "CdtrAcct"
	}
	c.begin("RltdPties")
	c.begin(side)
	c.begin("Id")
	c.begin("Othr")
	c.text("Id", m.Counterparty)
	c.end("Othr", "Id", side, "RltdPties")
}
