package record_test

import (
	"errors"
	"slices"
	"testing"

	"example.com/atm/vault/record"
)

func open(found map[string]*int) (*record.Table[string, int], *record.Tx, *[]string, *[]int) {
	tx, table, keys, changes := &record.Tx{}, &record.Table[string, int]{}, &[]string{"a", "b"},
		&[]int{}
	table.Open(tx, "number", keys, record.Loaded[string, int]{Found: found}, changes)
	return table, tx, keys, changes
}

func TestRecordThatWasNotAskedForFailsTheCommand(t *testing.T) {
	one := 1
	table, tx, keys, changes := open(map[string]*int{"a": &one})
	if v, known := table.Get("a"); v != 1 || !known {
		t.Errorf("a is %d, %t", v, known)
	}
	if _, known := table.Get("b"); known || tx.Failed() != nil {
		t.Errorf("b is known: %t, %v", known, tx.Failed())
	}
	tx.Begin()
	table.Forget() // the command that follows asks for nothing
	*keys = append(*keys, "b")
	if table.Put("b", 2); tx.Failed() != nil || !tx.Wrote() {
		t.Errorf("b was asked for: %v", tx.Failed())
	}
	if table.Put("a", 3); !errors.Is(tx.Failed(), record.ErrNotAsked) {
		t.Errorf("a was not asked for: %v", tx.Failed())
	}
	if table.Put("b", 4) {
		t.Error("a command that failed writes")
	}
	if table.Collect(); !slices.Equal(*changes, []int{2}) {
		t.Errorf("changes: %v", *changes)
	}
}

func TestKeysOfTheTransactionStayAsTheyAre(t *testing.T) {
	table, _, keys, _ := open(nil)
	whole := *keys
	table.Forget()
	*keys = append(*keys, "c", "d")
	table.Forget()
	*keys = append(*keys, "e")
	if !slices.Equal(whole, []string{"a", "b"}) {
		t.Errorf("the keys that a store loads by became %v", whole)
	}
}

func TestWhatWasLoadedStaysAsItWas(t *testing.T) {
	one := 1
	table, _, _, changes := open(map[string]*int{"a": &one})
	table.Put("a", 2)
	table.Put("b", 5)
	table.Put("a", 3)
	if v, _ := table.Get("a"); v != 3 || *table.Before("a") != 1 || one != 1 {
		t.Errorf("a is %d, and was %d", v, *table.Before("a"))
	}
	if table.Collect(); !slices.Equal(*changes, []int{3, 5}) {
		t.Errorf("changes: %v", *changes)
	}
}

func TestDamagedRecordConcernsThoseThatAskForIt(t *testing.T) {
	cause := errors.New("a bit flipped")
	var l record.Loaded[string, int]
	l.Note("a", cause)
	var table record.Table[string, int]
	keys := []string{"a"}
	table.Open(&record.Tx{}, "number", &keys, l, &[]int{})
	if err := table.Damaged(); !errors.Is(err, cause) || err.Error() != "number a: a bit flipped" {
		t.Errorf("Damaged = %v", err)
	}
	table.Forget()
	keys = append(keys, "b")
	if err := table.Damaged(); err != nil {
		t.Errorf("Damaged = %v", err)
	}
}
