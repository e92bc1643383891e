package vaulttest

import (
	"reflect"
	"testing"

	"example.com/atm/vault"
)

// A Kind is a field of vault.Records.
type Kind struct {
	Name string // of the field
	list reflect.Value
}

// Kinds returns the kinds of records, as they are in r.
func Kinds(r *vault.Records) []Kind { return kindsIn(reflect.ValueOf(r).Elem()) }

func kindsIn(records reflect.Value) (kinds []Kind) {
	for i := range records.NumField() {
		field, name := records.Field(i), records.Type().Field(i).Name
		if field.Kind() == reflect.Struct {
			kinds = append(kinds, kindsIn(field)...)
		} else {
			kinds = append(kinds, Kind{name, field})
		}
	}
	return kinds
}

// Len is how many records of the kind there are.
func (k Kind) Len() int { return k.list.Len() }

// List points to the records.
func (k Kind) List() any { return k.list.Addr().Interface() }

// AddEmpty adds a record in which nothing is said.
func (k Kind) AddEmpty() {
	k.list.Set(reflect.Append(k.list, reflect.Zero(k.list.Type().Elem())))
}

// testEveryKindIsMoved makes sure that what Furnish makes has some of each kind: what a test
// does not make, it does not miss in a store that was moved, checked or rebuilt.
func testEveryKindIsMoved(t *testing.T, p Place) {
	store := backend(t, p)
	Furnish(t, store)
	all, _ := Contents(t, store)
	for _, kind := range Kinds(&all.Records) {
		if kind.Len() == 0 {
			t.Errorf("%s: Furnish makes none, or the store dumps none", kind.Name)
		}
	}
}
