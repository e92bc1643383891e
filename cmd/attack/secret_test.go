//go:build unix

package attack_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/atm/cmd/internal/daemontest"
)

// attackSecrets floods the check of secrets, which takes memory and time, with invented ones,
// so that other callers would have to wait.
func (a *arena) attackSecrets(t *testing.T) {
	const made, secret = 60, "my mare ate 7 green apples"
	daemontest.Must(t)(a.As(t, "operator").Call(t.Context(), "admin.user.add", "user:tess",
		"customer", secret,
		"token"))
	request := func(id, secret string) string {
		at := attack{path: "/token", body: url.Values{
			"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret},
		}.Encode()}
		return at.bytes()
	}
	t.Run("a flood for one user", func(t *testing.T) {
		var flood sync.WaitGroup
		var refused atomic.Int64
		begun := make(chan struct{}, made)
		for range made {
			from := a.address(t.Name())
			flood.Go(func() {
				code, _ := a.exchange(t, from, nil,
					request("user:alice", "made-up secret of nobody"))
				refused.Add(1)
				begun <- struct{}{}
				if code == http.StatusOK {
					t.Error("a made-up secret is good")
				}
			})
		}
		<-begun // the other checks are running or waiting
		code, answer := a.exchange(t, a.address(t.Name()+" by_right"), nil,
			request("user:tess", secret))
		before := refused.Load()
		if code != http.StatusOK || !strings.Contains(answer, "access_token") {
			t.Errorf("the right secret is answered %d %.300q", code, answer)
		}
		if before > made*3/4 {
			t.Errorf("the right secret waited for %d of %d made-up ones", before, made)
		}
		flood.Wait()
	})
}
