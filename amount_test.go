package atm_test

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"example.com/atm"
	"pgregory.net/rapid"
)

func TestAmountIsReadExactlyOrRefusedWithACode(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want atm.Amount
		code atm.Code
	}{
		{"12.50", 1250, atm.OK},
		{"0.1", 10, atm.OK},
		{"0.01", 1, atm.OK},
		{"007", 700, atm.OK},
		{"1000000000000", atm.MaxAmount, atm.OK},
		{"1000000000000.00", atm.MaxAmount, atm.OK},
		{"1000000000000.01", 0, atm.AmountTooLarge},
		{"99999999999999", 0, atm.AmountTooLarge},
		{strings.Repeat("9", 5000), 0, atm.AmountTooLarge},
		{"0.001", 0, atm.AmountPrecision}, // no fractions of a cent
		{"5.000", 0, atm.AmountPrecision},
		{"0", 0, atm.AmountNotPositive},
		{"0.00", 0, atm.AmountNotPositive},
		{"-0", 0, atm.AmountNotPositive},
		{"-5", 0, atm.AmountNotPositive},
		{"", 0, atm.AmountInvalid},
		{".5", 0, atm.AmountInvalid},
		{"5.", 0, atm.AmountInvalid},
		{"1e3", 0, atm.AmountInvalid},
		{"+5", 0, atm.AmountInvalid},
		{" 5", 0, atm.AmountInvalid},
		{"0x10", 0, atm.AmountInvalid},
		{"abc", 0, atm.AmountInvalid},
		{"NaN", 0, atm.AmountInvalid},
		{"1,000", 0, atm.AmountInvalid},
		{"٥", 0, atm.AmountInvalid}, // a digit, but not one of ours
		{"--5", 0, atm.AmountInvalid},
	} {
		got, code := atm.ParseAmount(tt.in)
		if got != tt.want || code != tt.code {
			t.Errorf("ParseAmount(%.40q) = %v, %v, want %v, %v", tt.in, got, code, tt.want, tt.code)
		}
	}
}

func TestAmountOfADoubleToleratesItsBinaryErrorAlone(t *testing.T) {
	for _, tt := range []struct {
		kind atm.Kind
		in   string
		want atm.Amount
		code atm.Code
	}{
		{atm.Int, "5", 500, atm.OK},
		{atm.Int, "+5", 500, atm.OK},
		{atm.Int, "-5", 0, atm.AmountNotPositive},
		{atm.Int, "5.0", 0, atm.AmountInvalid},
		{atm.Double, "5.0", 500, atm.OK},
		{atm.Double, "25.500000", 2550, atm.OK},
		{atm.Double, "0.78000000000000009", 78, atm.OK},
		{atm.Double, "0.000001", 0, atm.AmountNotPositive}, // within 0.0001 cent of nothing
		{atm.Double, "0.00001", 0, atm.AmountPrecision},
		{atm.Double, "0.010001", 1, atm.OK}, // off by exactly the tolerance
		{atm.Double, "0.010002", 0, atm.AmountPrecision},
		{atm.Double, "0.010002e0", 0, atm.AmountPrecision},
		{atm.Double, "0.01000099", 1, atm.OK},
		{atm.Double, "1e3", 100000, atm.OK},
		{atm.Double, "1e12", atm.MaxAmount, atm.OK},
		{atm.Double, "1.0000000000001e12", 0, atm.AmountTooLarge},
		{atm.Double, "1e999999999", 0, atm.AmountTooLarge},
		{atm.Double, "1e-999999999", 0, atm.AmountNotPositive},
		{atm.Double, "-0.0", 0, atm.AmountNotPositive},
		{atm.Double, "-1", 0, atm.AmountNotPositive},
		{atm.Double, "NaN", 0, atm.AmountInvalid},
		{atm.Double, "inf", 0, atm.AmountInvalid},
		{atm.Double, "Infinity", 0, atm.AmountInvalid},
		{atm.Double, "0x1p4", 0, atm.AmountInvalid},
		{atm.Double, "1_000", 0, atm.AmountInvalid},
		{atm.Double, strings.Repeat("1", 500), 0, atm.AmountInvalid},
		{atm.Missing, "", 0, atm.AmountInvalid},
	} {
		got, code := atm.Arg{Kind: tt.kind, Text: tt.in}.Amount()
		if got != tt.want || code != tt.code {
			t.Errorf("amount of %d %.40q = %v, %v, want %v, %v", tt.kind, tt.in, got, code, tt.want,
				tt.code)
		}
	}
}

// TestAmountsAgreeWithExactArithmetic compares with exact arithmetic that shares no
// code with the parser.
func TestAmountsAgreeWithExactArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`-?[0-9]{1,15}(\.[0-9]{1,4})?`).Draw(t, "text")
		kind := rapid.SampledFrom([]atm.Kind{atm.String, atm.Double}).Draw(t, "kind")
		exact, _ := new(big.Rat).SetString(text)
		cents := new(big.Rat).Mul(exact, big.NewRat(100, 1))
		got, code := atm.Arg{Kind: kind, Text: text}.Amount()
		if code != atm.OK {
			// Whatever is refused is no positive sum of whole cents in bounds.
			_, places, _ := strings.Cut(text, ".")
			if cents.IsInt() && cents.Sign() > 0 && exact.Cmp(big.NewRat(1e12, 1)) <= 0 &&
				len(places) <= 2 {
				t.Fatalf("%s refused: %s", text, code)
			}
			return
		}
		if cents.Cmp(big.NewRat(int64(got), 1)) != 0 {
			t.Fatalf("%s became %s", text, got)
		}
		again, code := atm.ParseAmount(got.String())
		if again != got || code != atm.OK {
			t.Fatalf("%s written as %s, read as %s, %s", text, got, again, code)
		}
	})
}

func FuzzAmount(f *testing.F) {
	for _, seed := range []string{
		"5", "0.78000000000000009", "1e3", "-0", "1e-400", "NaN",
		"0x1p-2", "99999999999999",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []atm.Kind{atm.Int, atm.Double, atm.String} {
			got, code := atm.Arg{Kind: kind, Text: text}.Amount()
			if (code == atm.OK) != (got > 0) || got > atm.MaxAmount {
				t.Fatalf("%d %q = %v, %v", kind, text, got, code)
			}
			if code != atm.OK {
				continue
			}
			exact, ok := new(big.Rat).SetString(text)
			if !ok {
				t.Fatalf("%d %q is no number and became %v", kind, text, got)
			}
			off := exact.Mul(exact, big.NewRat(100, 1)).Sub(exact, big.NewRat(int64(got), 1))
			if off.Abs(off).Cmp(big.NewRat(1, 10000)) > 0 {
				t.Fatalf("%d %q became %v", kind, text, got)
			}
		}
	})
}

func TestAmountIsWrittenWithTwoPlaces(t *testing.T) {
	for _, tt := range []struct {
		in   atm.Amount
		want string
	}{
		{0, "0.00"},
		{5, "0.05"},
		{-5, "-0.05"},
		{160900, "1609.00"},
		{-1 << 63, "-92233720368547758.08"},
	} {
		if got := fmt.Sprint(tt.in); got != tt.want {
			t.Errorf("%d cents = %s, want %s", int64(tt.in), got, tt.want)
		}
	}
}
