package atm

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// An Amount is a sum of money in cents.
type Amount int64

// MaxAmount is the largest amount of one operation: 10^12 dollars.
const MaxAmount Amount = 1e12 * 100

// MaxBalance is the largest balance of a customer's account, 2^53-1 cents, so that every
// balance survives programs that keep numbers as float64.
const MaxBalance Amount = 1<<53 - 1

// String is the amount in dollars with two decimals, such as "1609.00" or
// "-0.05".
func (a Amount) String() string { return string(a.AppendText(make([]byte, 0, 24))) }

// AppendText appends what String returns.
func (a Amount) AppendText(b []byte) []byte {
	u := uint64(a)
	if a < 0 {
		b = append(b, '-')
		u = -u
	}
	b = strconv.AppendUint(b, u/100, 10)
	return append(b, '.', byte('0'+u/10%10), byte('0'+u%10))
}

// ParseAmount parses a positive amount of at most MaxAmount in decimal form, such as "12.50":
// digits, an optional point, at most two decimals. It works on the text, so no cent appears or
// vanishes on the way. The code is OK, or says what is wrong with the text.
func ParseAmount(s string) (Amount, Code) {
	negative := strings.HasPrefix(s, "-")
	whole, cents, point := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	if !digits(whole) || point && !digits(cents) {
		return 0, AmountInvalid
	}
	zero := strings.Trim(whole, "0") == "" && strings.Trim(cents, "0") == ""
	whole = strings.TrimLeft(whole, "0")
	switch {
	case negative || zero:
		return 0, AmountNotPositive
	case len(cents) > 2:
		return 0, AmountPrecision
	case len(whole) > len("1000000000000"):
		return 0, AmountTooLarge
	}
	n, err := strconv.ParseInt(whole+(cents + "00")[:2], 10, 64)
	if err != nil {
		return 0, AmountInvalid
	}
	if n > int64(MaxAmount) {
		return 0, AmountTooLarge
	}
	return Amount(n), OK
}

func digits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// Amount reads the argument as an amount. An Int is whole dollars. A String is exact. A Double
// means the cent within 0.0001 cent of it, because clients write 0.78 as 0.78000000000000009.
func (a Arg) Amount() (Amount, Code) {
	switch a.Kind {
	case String:
		return ParseAmount(a.Text)
	case Int:
		text := strings.TrimPrefix(a.Text, "+")
		if !digits(strings.TrimPrefix(text, "-")) {
			return 0, AmountInvalid
		}
		return ParseAmount(text)
	case Double:
		return parseDouble(a.Text)
	}
	return 0, AmountInvalid
}

// maxDoubleText bounds the text of a double, in bytes, so that exact arithmetic on it stays
// cheap. The largest finite double has 309 digits before its point.
const maxDoubleText = 400

// parseDouble parses the text of an XML-RPC double. The specification allows only digits and a
// point. An exponent is accepted too, because real clients write 1e+06.
func parseDouble(s string) (Amount, Code) {
	if len(s) > maxDoubleText {
		return 0, AmountInvalid
	}
	// Refuse what is not a number. The value is used only for its magnitude.
	f, err := strconv.ParseFloat(s, 64)
	if (err != nil && !math.IsInf(f, 0)) || math.IsNaN(f) || strings.ContainsAny(s, "xXpP_nN") {
		return 0, AmountInvalid
	}
	switch {
	case f < 0:
		return 0, AmountNotPositive
	case f > 1e12+1:
		return 0, AmountTooLarge
	// A value this close to zero is zero. Exact arithmetic on an exponent such as 1e-999999999
	// would be expensive.
	case f < 1e-9:
		return 0, AmountNotPositive
	}
	exact, ok := new(big.Rat).SetString(s)
	if !ok {
		return 0, AmountInvalid
	}
	cents := exact.Mul(exact, big.NewRat(100, 1))
	nearest := new(big.Int).Add(new(big.Int).Mul(cents.Num(), big.NewInt(2)), cents.Denom())
	nearest.Quo(nearest, new(big.Int).Mul(cents.Denom(), big.NewInt(2)))
	off := new(big.Rat).Sub(cents, new(big.Rat).SetInt(nearest))
	if off.Abs(off).Cmp(big.NewRat(1, 10000)) > 0 {
		return 0, AmountPrecision
	}
	n := Amount(nearest.Int64())
	switch {
	case n > MaxAmount:
		return 0, AmountTooLarge
	case n == 0:
		return 0, AmountNotPositive
	}
	return n, OK
}

// ParseMoney parses what Amount.String writes, and nothing else.
func ParseMoney(s string) (Amount, bool) {
	whole, cents, ok := strings.Cut(s, ".")
	if !ok || len(cents) != 2 {
		return 0, false
	}
	n, err := strconv.ParseInt(whole+cents, 10, 64)
	var written [24]byte
	if err != nil || string(Amount(n).AppendText(written[:0])) != s {
		return 0, false
	}
	return Amount(n), true
}
