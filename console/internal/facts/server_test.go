package facts_test

import (
	"testing"

	"example.com/atm"
	"example.com/atm/console/internal/facts"
)

func TestStatusSaysHowFarTheLogIsArchived(t *testing.T) {
	archive := func(entries int64, lags bool, reason string) atm.Record {
		return atm.Record{
			{Name: "used", Value: true},
			{Name: "entries", Value: entries},
			{Name: "lags", Value: lags},
			{Name: "reason", Value: reason},
		}
	}
	for _, tt := range []struct {
		archive atm.Record
		want    string
	}{
		{atm.Record{{Name: "used", Value: false}}, "there is no archive"},
		{archive(700, false, ""), "700"},
		{archive(700, true, ""), "700, lags"},
		{archive(0, true, "no disk"), "0, lags, the last try failed: no disk"},
	} {
		shown := make(map[string]string)
		for _, section := range facts.OfServer(atm.Record{{Name: "log", Value: atm.Record{
			{Name: "base", Value: int64(512)}, {Name: "archive", Value: tt.archive},
		}}}) {
			for _, f := range section.Facts {
				shown[f.Name] = f.Text
			}
		}
		if shown["Archived"] != tt.want || shown["First entry here"] != "512" {
			t.Errorf("%v shows %q, first entry %q", tt.archive, shown["Archived"],
				shown["First entry here"])
		}
	}
}

func TestStatusSaysWhereTheKeyOfTheLogIs(t *testing.T) {
	for inModule, want := range map[bool]string{
		false: "a key in the data folder", true: "a key in a PKCS #11 module",
	} {
		var shown string
		for _, section := range facts.OfServer(atm.Record{{Name: "log", Value: atm.Record{
			{Name: "key_in_module", Value: inModule},
		}}}) {
			for _, f := range section.Facts {
				if f.Name == "Signed by" {
					shown = f.Text
				}
			}
		}
		if shown != want {
			t.Errorf("in a module: %t; shows %q", inModule, shown)
		}
	}
}
