package jsonapi

import (
	"net/http"
	"slices"

	"example.com/atm"
)

// A Code says what an answer with a code is for a reader of HTTP.
type Code struct {
	Code  atm.Code
	HTTP  int
	Title string // a few words
	Help  string // a sentence or two: what happened, and what to do
}

// Codes returns every code, in the order in which documents list them.
func Codes() []Code { return slices.Clone(codes) }

// StatusOf is the HTTP status of an answer with a code.
func StatusOf(code atm.Code) int {
	for i := range codes {
		if codes[i].Code == code {
			return codes[i].HTTP
		}
	}
	return http.StatusInternalServerError
}

func titleOf(code atm.Code) string {
	for i := range codes {
		if codes[i].Code == code {
			return codes[i].Title
		}
	}
	return string(code)
}

// codes has each code once. Client programs may rely on the HTTP statuses: a code never changes its
// own.
var codes = []Code{
	{atm.OK, http.StatusOK, "Done", "The operation was carried out, and its entry is stored."},
	{
		atm.AccountNotFound, http.StatusNotFound, "Account not found",
		"There is no such account, or it is not the caller's: both are answered alike.",
	},
	{
		atm.AccountExists, http.StatusConflict, "Account exists",
		"An account with this number was opened before.",
	},
	{
		atm.AccountFrozen, http.StatusConflict, "Account frozen",
		"No money moves on the account until an operator unfreezes it.",
	},
	{
		atm.AccountClosed, http.StatusConflict, "Account closed",
		"The account was closed for good.",
	},
	{
		atm.AccountNotEmpty, http.StatusConflict, "Account not empty",
		"An account is closed when its balance is zero and nothing of it is held.",
	},
	{
		atm.InsufficientFunds, http.StatusConflict, "Insufficient funds",
		"The account does not have the amount, or a hold has set it aside.",
	},
	{
		atm.AmountInvalid, http.StatusUnprocessableEntity, "Not an amount",
		"An amount, or another value of the call, is not in a form that the method reads.",
	},
	{
		atm.AmountNotPositive, http.StatusUnprocessableEntity, "Amount not positive",
		"An amount is more than zero.",
	},
	{
		atm.AmountPrecision, http.StatusUnprocessableEntity, "Fraction of a cent",
		"An amount has at most two decimals.",
	},
	{
		atm.AmountTooLarge, http.StatusUnprocessableEntity, "Amount too large",
		"One operation moves at most 1000000000000.00 dollars.",
	},
	{
		atm.BalanceTooLarge, http.StatusConflict, "Balance too large",
		"The account would hold more than 90071992547409.91 dollars.",
	},
	{
		atm.SameAccount, http.StatusUnprocessableEntity, "Same account",
		"Money is not moved from an account to itself.",
	},
	{
		atm.MemoInvalid, http.StatusUnprocessableEntity, "Not a memo",
		"A text has at most 140 characters and 256 bytes, without control and direction " +
			"characters.",
	},
	{
		atm.EntryNotFound, http.StatusNotFound, "Entry not found",
		"There is no such entry of the audit log, or the caller may not see it.",
	},
	{
		atm.NotReversible, http.StatusConflict, "Not reversible",
		"The entry moved no money that can be given back.",
	},
	{
		atm.ReversalExceeded, http.StatusConflict, "Reversal exceeded",
		"More would be given back than the entry moved.",
	},
	{
		atm.MandateNotFound, http.StatusNotFound, "Mandate not found",
		"There is no such mandate, or it is not the caller's.",
	},
	{
		atm.MandateExceeded, http.StatusConflict, "Mandate exceeded",
		"The mandate does not allow the amount, at once or in its period.",
	},
	{
		atm.MandateEnded, http.StatusConflict, "Mandate ended",
		"The mandate was revoked, has expired, or has not begun.",
	},
	{
		atm.OrderNotFound, http.StatusNotFound, "Standing order not found",
		"There is no such standing order, or it is not the caller's.",
	},
	{
		atm.FeedNotFound, http.StatusNotFound, "Subscription not found",
		"There is no such subscription or source, or it is not the caller's.",
	},
	{
		atm.FeedExists, http.StatusConflict, "Subscription exists",
		"The owner has a subscription or a source with this name: choose another one.",
	},
	{
		atm.FeedInvalid, http.StatusUnprocessableEntity, "Not a subscription",
		"The name, the URL or an option of the subscription makes no sense.",
	},
	{
		atm.LimitPerOperation, http.StatusConflict, "Limit of one operation",
		"The account has a limit on what may leave it at once.",
	},
	{
		atm.LimitDailyAmount, http.StatusConflict, "Daily limit",
		"The account has a limit on what may leave it in a day.",
	},
	{
		atm.LimitDailyCount, http.StatusConflict, "Daily number",
		"The account has a limit on how often money may leave it in a day, or there are as " +
			"many of these as may be.",
	},
	{
		atm.HoldNotFound, http.StatusNotFound, "Hold not found",
		"There is no such hold, or it is not the caller's.",
	},
	{
		atm.HoldNotPending, http.StatusConflict, "Hold not pending",
		"The hold was captured or released before.",
	},
	{atm.HoldExpired, http.StatusConflict, "Hold expired", "The hold has ended by itself."},
	{
		atm.HoldAmountExceeded, http.StatusConflict, "Hold exceeded",
		"More would be taken than the hold set aside.",
	},
	{
		atm.GrantExceeded, http.StatusConflict, "Grant exceeded",
		"More would be moved than the grant allows in all.",
	},
	{
		atm.Fault, http.StatusUnprocessableEntity, "Not a call",
		"The call is not one of the method: it was not carried out. Its HTTP status is 400 for a " +
			"body that cannot be read, 404 for an unknown method, 422 for wrong arguments.",
	},
	{
		atm.IdempotencyConflict, http.StatusConflict, "Request id used before",
		"The request id names another intention, or the header and request_id differ.",
	},
	{
		atm.IdempotencyKeyExpired, http.StatusConflict, "Request id expired",
		"The request id is a UUIDv7 from before the server keeps request ids.",
	},
	{
		atm.PermissionDenied, http.StatusForbidden, "Permission denied",
		"The caller's roles, or the scope of the credential, do not allow the operation.",
	},
	{
		atm.NotConfirmed, http.StatusForbidden, "Not confirmed",
		"The operation needs to be confirmed with a passkey, in the console.",
	},
	{
		atm.CursorInvalid, http.StatusUnprocessableEntity, "Not a page",
		"A cursor, a limit or a range of time makes no sense.",
	},
	{
		atm.AnswerTooLarge, http.StatusConflict, "Answer too large",
		"The answer might not fit into that of its multicall: ask for it alone.",
	},
	{
		atm.Unavailable, http.StatusServiceUnavailable, "Unavailable",
		"Nothing was carried out. Try again with the same request id.",
	},
	{
		atm.OutcomeUnknown, http.StatusServiceUnavailable, "Outcome unknown",
		"Money may have moved. Try again with the same request id to learn what happened.",
	},
	{
		atm.Internal, http.StatusInternalServerError, "Internal error",
		"The server made a mistake, which its operator can read about.",
	},
}
