package auth

import "example.com/atm"

// permissions says which roles may do which operation, and on which accounts. An operation
// without a row is denied to every caller.
var permissions = map[atm.Operation]map[atm.Role]atm.Reach{
	atm.Inquiry:   reading,
	atm.Deposit:   movement,
	atm.Withdraw:  movement,
	atm.Transfer:  movement,
	atm.Authorize: movement,
	atm.Capture:   movement,
	atm.Release:   movement,
	atm.Statement: reading,
	atm.Receipt:   receipts,
	atm.ShowEntry: receipts,
	atm.Certificate: { // has the name of the holder, which is not for auditors
		atm.Customer: atm.Owned, atm.Teller: atm.Everywhere, atm.Operator: atm.Everywhere,
	},
	atm.Whoami: everybody,

	atm.Reverse:       movement,
	atm.MandateCreate: {atm.Customer: atm.Owned},
	atm.MandateList:   mandates,
	atm.MandateRevoke: movement,
	atm.Collect:       {atm.Customer: atm.Owned, atm.Service: atm.Owned},
	atm.OrderCreate:   {atm.Customer: atm.Owned},
	atm.OrderList:     reading,
	atm.OrderShow:     reading,
	atm.OrderCancel:   movement,
	atm.Notify: {
		atm.Customer: atm.Owned, atm.Service: atm.Owned,
		atm.Teller: atm.Everywhere,
	},
	atm.Notices: reading,

	atm.AccountOpen:     operator,
	atm.AccountShow:     operator,
	atm.AccountList:     operator,
	atm.AccountFreeze:   operator,
	atm.AccountUnfreeze: operator,
	atm.AccountClose:    operator,
	atm.AccountLimit:    operator,
	atm.AccountSet:      operator,
	atm.AccountImport:   operator,
	atm.CertIssue:       operator,
	atm.UserAdd:         operator,
	atm.UserImport:      operator,
	atm.UserList:        operator,
	atm.UserDisable:     operator,
	atm.UserEnable:      operator,
	atm.UserShow:        operator,
	atm.UserRevoke:      operator,
	atm.CertInvite:      operator,
	atm.CertRenew:       everybody,
	atm.CertRevoke:      operator,
	atm.CertList:        operator,
	atm.CertCRL:         operator,
	atm.GrantCreate:     {atm.Customer: atm.Owned},
	atm.GrantList:       grants,
	atm.GrantRevoke:     grants,
	atm.TokenIssue:      operator,
	atm.TokenRevoke:     operator,
	atm.TokenList:       operator,
	atm.HoldList:        holds,
	atm.HoldShow:        holds,
	atm.TokenRotate:     operator,
	atm.VaultRotate:     operator,
	atm.Backup:          operator,

	atm.AuditRotate: operator,

	atm.PasskeyList:   everybody,
	atm.PasskeyAdd:    everybody,
	atm.PasskeyRename: everybody,
	atm.PasskeyRemove: everybody,
	atm.SessionList:   everybody,
	atm.SessionEnd:    everybody,

	atm.UserPasskeys:      operator,
	atm.UserPasskeyRemove: operator,
	atm.UserSessions:      operator,
	atm.UserSessionEnd:    operator,

	// An auditor subscribes to everything, others to accounts of their own.
	atm.FeedAdd:    {atm.Customer: atm.Owned, atm.Auditor: atm.Everywhere},
	atm.FeedSecret: everybody,
	atm.FeedList:   subscriptions,
	atm.FeedShow:   subscriptions,
	atm.FeedPause:  subscriptions,
	atm.FeedResume: subscriptions,
	atm.FeedReplay: subscriptions,
	atm.FeedTest:   subscriptions,
	atm.FeedRotate: subscriptions,
	atm.FeedRemove: subscriptions,

	atm.FeedSourceAdd:    operator,
	atm.FeedSourceList:   operator,
	atm.FeedSourceSecret: operator,
	atm.FeedSourceRotate: operator,
	atm.FeedSourceRemove: operator,

	atm.ServerStatus: {atm.Operator: atm.Everywhere, atm.Auditor: atm.Everywhere},

	atm.AuditRead:     auditor,
	atm.AuditList:     auditor,
	atm.AuditBalances: auditor,
}

// movement is for operations that move money: the accounts from which a role may move it.
var movement = map[atm.Role]atm.Reach{atm.Customer: atm.Owned, atm.Teller: atm.Everywhere}

// receipts is for seeing one entry of the audit log, or its proof.
var receipts = map[atm.Role]atm.Reach{
	atm.Customer: atm.Owned, atm.Teller: atm.Everywhere, atm.Auditor: atm.Everywhere,
}

// reading is for operations that show accounts: those that a role may see.
var reading = map[atm.Role]atm.Reach{
	atm.Customer: atm.Owned, atm.Teller: atm.Everywhere, atm.Auditor: atm.Everywhere,
}

// mandates is for seeing mandates: those on accounts that a role may see. A creditor sees those
// that were given to it, whatever its role.
var mandates = map[atm.Role]atm.Reach{
	atm.Customer: atm.Owned, atm.Service: atm.Owned, atm.Teller: atm.Everywhere,
	atm.Auditor: atm.Everywhere,
}

// everybody is for operations about the caller alone.
var everybody = map[atm.Role]atm.Reach{
	atm.Customer: atm.Owned, atm.Teller: atm.Owned, atm.Auditor: atm.Owned, atm.Operator: atm.Owned,
	atm.Service: atm.Owned,
}

// holds is for seeing holds: roles that see every account see the holds of others.
var holds = map[atm.Role]atm.Reach{
	atm.Teller: atm.Everywhere, atm.Auditor: atm.Everywhere,
	atm.Operator: atm.Everywhere,
}

// grants is for seeing and revoking grants. Customers may do so with the grants that they gave.
var grants = map[atm.Role]atm.Reach{atm.Customer: atm.Owned, atm.Operator: atm.Everywhere}

// subscriptions is for managing subscriptions to the event feed: operators manage those of others.
var subscriptions = map[atm.Role]atm.Reach{
	atm.Customer: atm.Owned, atm.Teller: atm.Owned, atm.Auditor: atm.Owned,
	atm.Service: atm.Owned, atm.Operator: atm.Everywhere,
}

var auditor = map[atm.Role]atm.Reach{atm.Auditor: atm.Everywhere}

var operator = map[atm.Role]atm.Reach{atm.Operator: atm.Everywhere}

// Permit returns the accounts on which p may do op: the widest reach of all its roles.
func Permit(p atm.Principal, op atm.Operation) atm.Reach {
	reach := atm.Nowhere
	if !p.InScope(op) && (op != atm.Notify || p.Grant == "") { // a grant lets notices be left
		return reach
	}
	for _, role := range p.Roles {
		reach = max(reach, permissions[op][role])
	}
	return reach
}

// Covers reports whether the table has a row for op. The server does not start with a method
// that has none.
func Covers(op atm.Operation) bool { return len(permissions[op]) > 0 }
