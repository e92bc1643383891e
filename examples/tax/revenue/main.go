// Revenue takes tax returns. It asks payroll what the filer earned, collects what is due by the
// mandate that the filer gave it, pays back what was too much, and leaves a notice at the bank.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/examples/tax/peer"
)

// rate is the share of the earnings less the expenses that is due.
const rate = 10 // percent

// A Filing is a return as a filer sends it: the caller is the filer.
type Filing struct {
	Year     int
	Account  atm.AccountID // of the filer, on which this service has a mandate
	Expenses atm.Amount
}

// A Return is what is known of the taxes of a person for a year.
type Return struct {
	Year           int
	Tax, Paid      atm.Amount
	Outcome        string
	settled, filed int // how often; each is an intention of its own

	// underWay is being collected, or paid back when it is negative. While its outcome is unknown
	// nothing else is tried.
	underWay atm.Amount
}

// An office takes returns. It remembers them as long as it runs; a real one has a database.
type office struct {
	*peer.Peer
	payroll *http.Client
	ask     string        // URL of payroll
	account atm.AccountID // that taxes are collected into

	mu      sync.Mutex
	returns map[string]map[int]*Return // by person and year; guarded by mu
}

func main() {
	log.SetFlags(0)
	as := flag.String("as", "revenue", "folder with the credentials")
	bank := flag.String("bank", "https://localhost:9000", "URL of the bank")
	payroll := flag.String("payroll", "https://localhost:9100", "URL of payroll")
	listen := flag.String("listen", "localhost:9200", "where to answer")
	account := flag.Uint64("account", 600, "account that taxes are collected into")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o := &office{
		ask: *payroll + "/earned", account: atm.AccountID(*account),
		returns: make(map[string]map[int]*Return),
	}
	if err := o.run(ctx, *as, *bank, *listen); err != nil {
		log.Fatal("revenue: ", err)
	}
}

func (o *office) run(ctx context.Context, as, bank, listen string) (err error) {
	if o.Peer, err = peer.Load(ctx, as, bank); err != nil {
		return err
	}
	o.payroll = o.Client("service:payroll")
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Println("revenue: answers at", listen)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /file", peer.Answer(o.Peer, o.file))
	mux.HandleFunc("POST /status", peer.Answer(o.Peer, o.status))
	return o.Serve(ctx, l, mux)
}

// file takes a return, or one that takes the place of another, and settles it.
func (o *office) file(ctx context.Context, filer string, f Filing) (Return, error) {
	mandate, err := o.mandateOf(ctx, filer, f.Account)
	if err != nil {
		return Return{}, err
	}
	earned, err := peer.Ask[atm.Amount](ctx, o.payroll, o.ask,
		map[string]any{"Person": filer, "Year": f.Year})
	if err != nil {
		return Return{}, err
	}
	if f.Expenses < 0 || f.Expenses > earned {
		return Return{}, fmt.Errorf("%w: expenses are at most what was earned", peer.ErrRefused)
	}

	o.mu.Lock()
	defer o.mu.Unlock()
	if o.returns[filer] == nil {
		o.returns[filer] = make(map[int]*Return)
	}
	r := o.returns[filer][f.Year]
	if r == nil {
		r = &Return{Year: f.Year}
		o.returns[filer][f.Year] = r
	}
	r.Tax = (earned - f.Expenses) * rate / 100
	if err := o.settle(ctx, filer, r, f.Account, mandate); err != nil {
		return Return{}, err
	}
	r.filed++
	notice := fmt.Sprintf("Tax return %d: $%s due, %s", r.Year, r.Tax, r.Outcome)
	id := atm.RequestID(fmt.Sprintf("notice %s %d/%d", filer, r.Year, r.filed))
	answer, err := o.Bank.Note(ctx, f.Account, notice, id)
	if err == nil && !answer.OK() {
		err = fmt.Errorf("the notice: %s", answer.Reason)
	}
	return *r, err
}

// mandateOf finds the mandate on the account that the filer gave this service. The bank says whose
// it is, so a filer who names the account of somebody else pays with nobody's money.
func (o *office) mandateOf(ctx context.Context, filer string, account atm.AccountID) (string,
	error,
) {
	answer, err := o.Bank.Call(ctx, string(atm.MandateList), account.String())
	if err != nil {
		return "", err
	}
	mandates, _ := answer.Result.([]any)
	for _, mandate := range mandates {
		m, _ := mandate.(map[string]any)
		if id, ok := m["mandate"].(string); ok && m["debtor"] == filer {
			return id, nil
		}
	}
	return "", fmt.Errorf("%w: %s has given no mandate on account %s", peer.ErrRefused, filer,
		account)
}

// settle collects or pays back until the filer has paid what is due, or the bank refuses. If an
// answer gets lost, the same intention is sent again with the next filing, and happens once.
func (o *office) settle(ctx context.Context, filer string, r *Return, account atm.AccountID,
	mandate string,
) error {
	r.Outcome = "nothing left to pay"
	for r.Tax != r.Paid {
		if r.underWay == 0 {
			r.underWay = r.Tax - r.Paid
		}
		id := atm.RequestID(fmt.Sprintf("tax %s %d/%d", filer, r.Year, r.settled))
		memo := client.Memo(fmt.Sprintf("Tax %d", r.Year))
		var answer *client.Answer
		var err error
		if r.underWay > 0 {
			r.Outcome = "collected $" + r.underWay.String()
			answer, err = o.Bank.Collect(ctx, mandate, r.underWay, o.account, id, memo)
		} else {
			r.Outcome = "paid back $" + (-r.underWay).String()
			answer, err = o.Bank.Transfer(ctx, o.account, account, -r.underWay, id, memo)
		}
		if err != nil {
			return err
		}
		moved := r.underWay
		r.underWay = 0
		r.settled++
		if !answer.OK() {
			r.Outcome = "refused: " + answer.Reason
			return nil
		}
		r.Paid += moved
	}
	return nil
}

// status tells filers of their own returns.
func (o *office) status(_ context.Context, filer string, _ struct{}) (map[int]Return, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	returns := make(map[int]Return)
	for year, r := range o.returns[filer] {
		returns[year] = *r
	}
	return returns, nil
}
