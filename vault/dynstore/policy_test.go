package dynstore_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault/dynstore"
	"example.com/atm/vault/dynstore/dyntest"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/replicated"
	"example.com/atm/vault/vaulttest"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// A policy is a document of IAM.
type policy struct {
	Statement []struct {
		Effect   string
		Action   []string
		Resource any
	}
}

func (p policy) allows(t *testing.T) (actions []string) {
	t.Helper()
	for _, s := range p.Statement {
		if s.Effect != "Allow" || s.Resource == "*" {
			t.Errorf("a statement that allows everything, or nothing: %+v", s)
		}
		for _, action := range s.Action {
			actions = append(actions, strings.TrimPrefix(action, "dynamodb:"))
		}
	}
	return slices.Sorted(slices.Values(actions))
}

// deployed reads a file of deploy/dynamodb.
func deployed(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "dynamodb", name))
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// TestPoliciesAllowWhatIsAskedForAndNothingElse records what the store asks for, and compares it
// with the policies in deploy.
func TestPoliciesAllowWhatIsAskedForAndNothingElse(t *testing.T) {
	t.Parallel()
	engine := dyntest.Shared(t)
	proxy, address := newFaulty(t, engine)
	cfg := dynstore.Config{URL: dyntest.URL(engine.Name(), address), Secret: secret}
	if err := dynstore.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	var migrate, server policy
	deployed(t, "migrate-policy.json", &migrate)
	if asked, allowed := proxy.taken(), migrate.allows(t); !slices.Equal(asked, allowed) {
		t.Errorf("migrate asks for %v, and may do %v", asked, allowed)
	}
	calls := proxy.called
	proxy.called = nil
	live(t, cfg)
	deployed(t, "server-policy.json", &server)
	if asked, allowed := proxy.taken(), server.allows(t); !slices.Equal(asked, allowed) {
		t.Errorf("a server asks for %v, and may do %v", asked, allowed)
	}
	maps.Copy(calls, proxy.called)
	sources, err := filepath.Glob("table/*.go")
	if err != nil || len(sources) == 0 {
		t.Fatal(err)
	}
	for _, name := range sources {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\.client\.(\w+)\(ctx|\.client\.(\w+)\(bound`).
			FindAllStringSubmatch(string(text), -1) {
			if call := m[1] + m[2]; !calls[call] {
				t.Errorf("%s calls %s, which was not recorded here", name, call)
			}
		}
	}
}

// live does on a table that was made what servers and commands do.
func live(t *testing.T, cfg dynstore.Config) {
	t.Helper()
	store := create(t, cfg.URL)
	vaulttest.Furnish(t, store)
	vaulttest.Sound(t, store)
	if err := store.PutFiles(t.Context(), replicated.File{Name: "x", Data: []byte("y")}); err != nil {
		t.Fatal(err)
	}
	if err := store.Complete(t.Context()); err != nil {
		t.Fatal(err)
	}
	replica := join(t, cfg.URL, "one")
	if _, err := replica.Lease(t.Context(), "work", time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := replica.ShareFailures(t.Context(), []byte("one"), map[string]int64{"x": 1},
		make(map[string]int64)); err != nil {
		t.Fatal(err)
	}
	if err := replica.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestTableOfTheTemplateHoldsTheBooks makes the table of the CloudFormation template, and the
// books in it. The policy in the template is that of the file beside it.
func TestTableOfTheTemplateHoldsTheBooks(t *testing.T) {
	t.Parallel()
	engine := dyntest.Shared(t)
	var template struct {
		Resources struct {
			Table struct {
				DeletionPolicy string
				Properties     struct {
					dynamodb.CreateTableInput
					TableName                        any
					TimeToLiveSpecification          struct{ AttributeName string }
					PointInTimeRecoverySpecification struct{ PointInTimeRecoveryEnabled bool }
				}
			}
			ServerPolicy struct {
				Properties struct{ PolicyDocument policy }
			}
		}
	}
	var server policy
	deployed(t, "table.json", &template)
	deployed(t, "server-policy.json", &server)
	if a, b := template.Resources.ServerPolicy.Properties.PolicyDocument.allows(t),
		server.allows(t); !slices.Equal(a, b) {
		t.Errorf("the template allows %v, the policy %v", a, b)
	}
	table := template.Resources.Table
	if table.DeletionPolicy != "Retain" ||
		table.Properties.TimeToLiveSpecification.AttributeName != "expires" ||
		!table.Properties.PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled ||
		!aws.ToBool(table.Properties.DeletionProtectionEnabled) {
		t.Errorf("the table is not protected as by migrate: %+v", table)
	}
	at, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client := dynamodb.NewFromConfig(at, func(o *dynamodb.Options) {
		o.BaseEndpoint = aws.String("http://" + engine.Address)
	})
	name := engine.Name()
	in := table.Properties.CreateTableInput
	in.TableName = &name
	if _, err := client.CreateTable(t.Context(), &in); err != nil {
		t.Fatal(err)
	}
	store := create(t, dyntest.URL(name, engine.Address))
	l := vaulttest.NewLedger(t, ledger.Config{Store: store, Signer: vaulttest.NewSigner(t)})
	if s := l.Do(t.Context(), openAccount("1")); s.Code != atm.OK {
		t.Errorf("%+v", s)
	}
	vaulttest.Sound(t, store)
}
