// Payroll pays the salaries of a company, and tells the revenue service what people earned.
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

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/examples/tax/peer"
)

// An employee has an account at the bank, and earned something in each year.
type employee struct {
	account atm.AccountID
	salary  atm.Amount
	earned  map[int]atm.Amount
}

var employees = map[string]employee{
	"user:fay": {account: 700, salary: 2000_00, earned: map[int]atm.Amount{
		2023: 6200_00, 2024: 3000_00, 2025: 5000_00,
	}},
}

// A Question asks what a person earned in a year.
type Question struct {
	Person string
	Year   int
}

func main() {
	log.SetFlags(0)
	as := flag.String("as", "payroll", "folder with the credentials")
	bank := flag.String("bank", "https://localhost:9000", "URL of the bank")
	listen := flag.String("listen", "localhost:9100", "where to answer")
	account := flag.Uint64("account", 500, "account that salaries are paid from")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *as, *bank, *listen, atm.AccountID(*account)); err != nil {
		log.Fatal("payroll: ", err)
	}
}

func run(ctx context.Context, as, bank, listen string, account atm.AccountID) error {
	p, err := peer.Load(ctx, as, bank)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	for person, e := range employees {
		// The request id says which salary it is: started twice, this program pays once.
		answer, err := p.Bank.Transfer(ctx, account, e.account, e.salary,
			atm.RequestID("salary of November 2026, "+person), client.Memo("Salary, November"))
		switch {
		case err != nil:
			return err
		case !answer.OK():
			return fmt.Errorf("the salary of %s: %s", person, answer.Reason)
		}
		fmt.Printf("payroll: paid $%s to %s\n", e.salary, person)
	}
	fmt.Println("payroll: answers at", listen)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /earned", peer.Answer(p, earned))
	return p.Serve(ctx, l, mux)
}

// earned tells the revenue service, and nobody else, what a person earned.
func earned(_ context.Context, caller string, q Question) (atm.Amount, error) {
	if caller != "service:revenue" {
		return 0, fmt.Errorf("%w: what people earn is for service:revenue, not for %s",
			peer.ErrRefused, caller)
	}
	amount, known := employees[q.Person].earned[q.Year]
	if !known {
		return 0, fmt.Errorf("%w: %s earned nothing here in %d", peer.ErrRefused, q.Person, q.Year)
	}
	return amount, nil
}
