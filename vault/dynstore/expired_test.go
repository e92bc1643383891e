package dynstore_test

import (
	"fmt"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/dynstore/dyntest"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/requestid"
	"example.com/atm/vault/vaulttest"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// A meanwhile is a rule that does something after the records were read and before the commit.
type meanwhile struct {
	vault.Rule
	do func()
}

func (r meanwhile) Decide(b *vault.Books) atm.Status {
	r.do()
	return r.Rule.Decide(b)
}

// TestCommitOutlivesTheRemovalOfExpiredItems removes the items of old request ids, as the table
// does by itself when they have expired, between the reading and the writing of a commit that uses
// one of them again. What has not expired must not vanish.
func TestCommitOutlivesTheRemovalOfExpiredItems(t *testing.T) {
	t.Parallel()
	engine := dyntest.Shared(t)
	name := engine.Name()
	table := rawTable(t, engine, name)
	hasher, err := requestid.NewHasher(secret)
	if err != nil {
		t.Fatal(err)
	}
	store := create(t, dyntest.URL(name, engine.Address))
	books := vaulttest.NewLedger(t, ledger.Config{Store: store, Signer: vaulttest.NewSigner(t)})
	if s := books.Do(t.Context(), openAccount("1")); s.Code != atm.OK {
		t.Fatal(s)
	}
	asked := func(id atm.RequestID) vault.Command {
		cmd := deposit("1", 1)
		cmd.Request = hasher.Hash(cmd.Caller, id)
		return cmd
	}
	for _, tt := range []struct {
		in   time.Duration
		want atm.Code
	}{
		{-time.Hour, atm.OK},
		{time.Minute, atm.OK}, // the clock of the table may be ahead
		{7 * 24 * time.Hour, atm.Internal},
	} {
		for _, id := range []atm.RequestID{"one", "other"} {
			if s := books.Do(t.Context(), asked(id)); s.Code != atm.OK {
				t.Fatal(s)
			}
		}
		expires := fmt.Sprint(time.Now().Add(tt.in).Unix())
		requests := table.in(t, "request#")
		for _, i := range requests {
			i["until"] = &types.AttributeValueMemberN{Value: "0"} // of a day that counts no more
			i["expires"] = &types.AttributeValueMemberN{Value: expires}
			table.put(t, i)
		}
		again := asked("one")
		again.Rule = meanwhile{again.Rule, func() {
			for _, i := range requests {
				table.remove(t, i)
			}
		}}
		if s := books.Do(t.Context(), again); s.Code != tt.want {
			t.Errorf("removed, to expire in %v: %+v, want %v", tt.in, s, tt.want)
		}
	}
	vaulttest.Sound(t, store)
}
