package dynstore_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"example.com/atm/vault"
	"example.com/atm/vault/codec"
	"example.com/atm/vault/dynstore/dyntest"
	"example.com/atm/vault/vaulttest"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

type rawItem = map[string]types.AttributeValue

// A raw is a table as somebody with the credentials of a server sees it.
type raw struct {
	*dynamodb.Client
	name *string
}

func rawTable(t *testing.T, engine *dyntest.Engine, name string) raw {
	t.Helper()
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return raw{dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		o.BaseEndpoint = aws.String("http://" + engine.Address)
	}), &name}
}

// in returns the items whose PK begins so.
func (r raw) in(t *testing.T, prefix string) (found []rawItem) {
	t.Helper()
	pages := dynamodb.NewScanPaginator(r.Client, &dynamodb.ScanInput{TableName: r.name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range page.Items {
			if strings.HasPrefix(textIn(i, "pk"), prefix) {
				found = append(found, i)
			}
		}
	}
	if len(found) < 2 {
		t.Fatalf("%d items in %s", len(found), prefix)
	}
	return found
}

func textIn(i rawItem, attribute string) string {
	s, _ := i[attribute].(*types.AttributeValueMemberS)
	return s.Value
}

func (r raw) put(t *testing.T, i rawItem) {
	t.Helper()
	if _, err := r.PutItem(t.Context(), &dynamodb.PutItemInput{
		TableName: r.name, Item: i,
	}); err != nil {
		t.Fatal(err)
	}
}

func (r raw) remove(t *testing.T, i rawItem) {
	t.Helper()
	if _, err := r.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{
		TableName: r.name, Key: rawItem{"pk": i["pk"], "sk": i["sk"]},
	}); err != nil {
		t.Fatal(err)
	}
}

// TestCheckFindsItemsThatWereChanged removes accounts and a part of the journal behind the store's
// back, and gives them and a request id the content of others.
func TestCheckFindsItemsThatWereChanged(t *testing.T) {
	t.Parallel()
	engine := dyntest.Shared(t)
	name := engine.Name()
	store := create(t, dyntest.URL(name, engine.Address))
	vaulttest.Furnish(t, store)
	vaulttest.Sound(t, store)
	table := rawTable(t, engine, name)
	damaged := func(what string) {
		t.Helper()
		again := create(t, dyntest.URL(name, engine.Address)) // which has read nothing yet
		problems := 0
		err := again.Check(t.Context(), func(problem string) {
			problems++
			if strings.Contains(problem, "<nil>") {
				t.Errorf("%s: problem %q", what, problem)
			}
		})
		if !errors.Is(err, vault.ErrDamaged) || problems == 0 {
			t.Errorf("%s: %v, %d problems", what, err, problems)
		}
	}
	for _, prefix := range []string{"account#", "internal#", "journal#"} {
		items := table.in(t, prefix)
		one, other := items[0], items[1]
		table.remove(t, one)
		damaged(prefix + " removed")
		changed := maps.Clone(one)
		changed["data"] = other["data"]
		table.put(t, changed)
		damaged(prefix + " with the content of another one")
		table.put(t, one)
	}
	requests := table.in(t, "request#")
	changed := maps.Clone(requests[0])
	changed["data"] = requests[1]["data"]
	table.put(t, changed)
	damaged("a request id with the answer to another one")
	changed["data"] = &types.AttributeValueMemberB{Value: codec.JournalKey(1000)}
	table.put(t, changed)
	damaged("a request id with the answer that no entry has")
	table.put(t, requests[0])
	vaulttest.Sound(t, store)
}
