package vault

import (
	"reflect"
	"testing"
	"unsafe"
)

// fields are the fields of a struct, those of structs of ours that are embedded in it among
// them, by name.
func fields(t *testing.T, of any) map[string]reflect.Value {
	t.Helper()
	found := make(map[string]reflect.Value)
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.Anonymous {
				walk(v.Field(i))
			} else {
				found[f.Name] = v.Field(i)
			}
		}
	}
	walk(reflect.ValueOf(of).Elem())
	return found
}

// TestEveryKindHasATable makes sure that the books bind each kind: a command names its keys
// anew, what was loaded is found, and what was changed is written.
func TestEveryKindHasATable(t *testing.T) {
	b := NewBooks(Keys{}, Loaded{})
	bound := make(map[unsafe.Pointer]bool) // what the tables point to
	for _, kind := range b.kinds {
		table := reflect.ValueOf(kind).Elem()
		for _, name := range []string{"asked", "changes"} {
			bound[table.FieldByName(name).UnsafePointer()] = true
		}
	}
	for name, field := range fields(t, &b.keys) {
		if name == "More" {
			continue // which is no kind
		}
		if !bound[field.Addr().UnsafePointer()] {
			t.Errorf("Keys.%s belong to no table of NewBooks", name)
		}
	}
	for name, field := range fields(t, &b.changes.Records) {
		if name == "Cursors" {
			continue // which no rule asks for or changes
		}
		if !bound[field.Addr().UnsafePointer()] {
			t.Errorf("Records.%s belong to no table of NewBooks", name)
		}
	}
}

// TestEveryKindIsLoaded makes sure that what a store loads of each kind is in the books.
func TestEveryKindIsLoaded(t *testing.T) {
	var l Loaded
	kinds := 0
	for name, field := range fields(t, &l) {
		found := field.Kind() == reflect.Struct && field.FieldByName("Found").IsValid()
		if !found {
			continue
		}
		kinds++
		loaded := field.FieldByName("Found")
		loaded.Set(reflect.MakeMap(loaded.Type()))
		in := false
		for _, kind := range NewBooks(Keys{}, l).kinds {
			table := reflect.ValueOf(kind).Elem().FieldByName("loaded").FieldByName("Found")
			in = in || table.Pointer() == loaded.Pointer()
		}
		if !in {
			t.Errorf("Loaded.%s is in no table of NewBooks", name)
		}
	}
	if kinds < 6 {
		t.Errorf("saw %d kinds: the test looks in the wrong place", kinds)
	}
}

// TestEveryKindIsAdded makes sure that Records.Add leaves no kind out.
func TestEveryKindIsAdded(t *testing.T) {
	var more, sum Records
	for _, field := range fields(t, &more) {
		field.Set(reflect.MakeSlice(field.Type(), 1, 1))
	}
	sum.Add(&more)
	for name, field := range fields(t, &sum) {
		if field.Len() != 1 {
			t.Errorf("Add leaves Records.%s out", name)
		}
	}
}
