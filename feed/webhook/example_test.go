package webhook_test

import (
	"fmt"
	"net/http"
	"time"

	"example.com/atm/feed/webhook"
)

// A receiver verifies what a sender signed with its old key and with its new one.
func Example() {
	older := webhook.NewKey([32]byte{1}, [32]byte{2}) // of random or of derived bytes
	newer := webhook.NewKey([32]byte{3}, [32]byte{4})
	body := []byte(`{"type":"atm.deposit"}`)
	h := make(http.Header)
	if err := webhook.Sign(h, "f4711.23", time.Now(), body, newer, older); err != nil {
		fmt.Println(err)
	}

	verifier, err := webhook.ParseVerifier(older.Secret())
	if err != nil {
		fmt.Println(err)
	}
	received, err := webhook.Verify(h, body, time.Now(), verifier)
	fmt.Println(received.ID, err)
	_, err = webhook.Verify(h, []byte(`{"type":"atm.withdraw"}`), time.Now(), verifier)
	fmt.Println(err)
	// Output:
	// f4711.23 <nil>
	// no signature of the webhook is good
}
