// Filer files tax returns for a person.
//
// usage: filer mandate | file YEAR [EXPENSES] | status | notices
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/examples/tax/peer"
)

const revenue = "service:revenue"

// A Return is what the revenue service knows of the taxes for a year.
type Return struct {
	Year      int
	Tax, Paid atm.Amount
	Outcome   string
}

// String is a line about the return.
func (r Return) String() string {
	return fmt.Sprintf("Return for %d: $%s due, $%s paid, %s", r.Year, r.Tax, r.Paid, r.Outcome)
}

// A filer has an account, and asks the revenue service.
type filer struct {
	*peer.Peer
	account atm.AccountID
	office  *http.Client
	url     string
}

func main() {
	log.SetFlags(0)
	as := flag.String("as", "fay", "folder with the credentials")
	bank := flag.String("bank", "https://localhost:9000", "URL of the bank")
	url := flag.String("revenue", "https://localhost:9200", "URL of the revenue service")
	account := flag.Uint64("account", 700, "account that taxes are paid from")
	flag.Parse()
	ctx := context.Background()
	p, err := peer.Load(ctx, *as, *bank)
	if err != nil {
		log.Fatal("filer: ", err)
	}
	f := &filer{
		Peer: p, account: atm.AccountID(*account), office: p.Client(revenue), url: *url,
	}
	if err := f.do(ctx, flag.Args()); err != nil {
		log.Fatal("filer: ", err)
	}
}

var errUsage = errors.New("usage: filer mandate | file YEAR [EXPENSES] | status | notices")

func (f *filer) do(ctx context.Context, words []string) error {
	if len(words) == 0 {
		return errUsage
	}
	switch words[0] {
	case "mandate":
		return f.mandate(ctx)
	case "file":
		return f.file(ctx, words[1:])
	case "status":
		return f.status(ctx)
	case "notices":
		return f.notices(ctx)
	}
	return errUsage
}

// mandate lets the revenue service collect taxes.
func (f *filer) mandate(ctx context.Context) error {
	answer, err := f.Bank.CreateMandate(ctx, f.account, client.MandateTerms{
		Creditor: revenue, Each: 500_00, Total: 500_00, Period: "month", Memo: "Taxes",
	}, atm.RequestID(atm.NewUUID(time.Now())))
	if err != nil {
		return err
	}
	if !answer.OK() {
		return errors.New(answer.Reason)
	}
	fmt.Printf("Mandate %s: %s may collect $500.00 at once and in a month\n", answer.Text(),
		revenue)
	return nil
}

// file files a return.
func (f *filer) file(ctx context.Context, words []string) error {
	if len(words) < 1 || len(words) > 2 {
		return errUsage
	}
	year, err := strconv.Atoi(words[0])
	if err != nil {
		return errUsage
	}
	var expenses atm.Amount
	if len(words) == 2 {
		var code atm.Code
		if expenses, code = atm.ParseAmount(words[1]); code != atm.OK {
			return errUsage
		}
	}
	filed, err := peer.Ask[Return](ctx, f.office, f.url+"/file",
		map[string]any{"Year": year, "Account": f.account, "Expenses": expenses})
	if err != nil {
		return err
	}
	fmt.Println(filed)
	return nil
}

// status asks what the revenue service knows.
func (f *filer) status(ctx context.Context) error {
	returns, err := peer.Ask[map[int]Return](ctx, f.office, f.url+"/status", struct{}{})
	if err != nil {
		return err
	}
	for _, year := range slices.Sorted(maps.Keys(returns)) {
		fmt.Println(returns[year])
	}
	return nil
}

// notices reads what was left at the bank, the newest first.
func (f *filer) notices(ctx context.Context) error {
	answer, err := f.Bank.Notices(ctx, f.account, 10, "")
	if err != nil {
		return err
	}
	if !answer.OK() {
		return errors.New(answer.Reason)
	}
	page, _ := answer.Result.(map[string]any)
	notices, _ := page["entries"].([]any)
	for _, notice := range notices {
		n, _ := notice.(map[string]any)
		fmt.Printf("%v: %q\n", n["by"], n["text"])
	}
	return nil
}
