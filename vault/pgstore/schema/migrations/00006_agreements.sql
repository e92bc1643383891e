-- +goose Up

-- The mandates and standing orders that go on: the id of each, its creditor, and its end (in seconds since 1970, 0 for
-- none). A standing order has no creditor.
ALTER TABLE accounts
    ADD COLUMN agreements bigint[] NOT NULL DEFAULT '{}', -- id and end of each
    ADD COLUMN creditors  text[]   NOT NULL DEFAULT '{}';

-- Mandates to collect from an account; id is the index of the entry that gave it.
CREATE TABLE mandates (
    id       bigint PRIMARY KEY,
    account  text COLLATE "C" NOT NULL,
    debtor   text        NOT NULL,
    creditor text        NOT NULL,
    memo     text        NOT NULL,
    "each"   bigint      NOT NULL CHECK ("each" >= 0),
    total    bigint      NOT NULL CHECK (total >= 0),
    period   smallint    NOT NULL CHECK (period BETWEEN 0 AND 3),
    begins   timestamptz,
    ends     timestamptz,
    spent    bigint      NOT NULL CHECK (spent BETWEEN 0 AND total),
    counted  bigint      NOT NULL,
    revoked  boolean     NOT NULL
);

-- Standing orders; id is the index of the entry that gave it.
CREATE TABLE orders (
    id        bigint PRIMARY KEY,
    account   text COLLATE "C" NOT NULL,
    debtor    text        NOT NULL,
    payee     text COLLATE "C" NOT NULL, -- the account that is paid
    memo      text        NOT NULL,
    amount    bigint      NOT NULL CHECK (amount > 0),
    every     smallint    NOT NULL CHECK (every BETWEEN 1 AND 3),
    day       smallint    NOT NULL,
    minute    smallint    NOT NULL CHECK (minute BETWEEN 0 AND 1439),
    zone      text        NOT NULL,
    first     bigint      NOT NULL, -- dates, as days
    last      bigint      NOT NULL,
    next      timestamptz,              -- NULL when the order has ended
    paid      bigint      NOT NULL CHECK (paid >= 0),
    failed    bigint      NOT NULL CHECK (failed >= 0),
    settled   timestamptz,              -- the due date of the newest outcome
    outcome   text        NOT NULL,
    cancelled boolean     NOT NULL
);

CREATE INDEX orders_next ON orders (next) WHERE next IS NOT NULL;

-- What was given back of the money that an entry moved.
CREATE TABLE reversals (
    entry  bigint PRIMARY KEY,
    amount bigint NOT NULL CHECK (amount > 0)
);

-- Roles that serve already may go on.
-- +goose StatementBegin
DO $$
DECLARE role name;
BEGIN
    FOR role IN SELECT DISTINCT grantee FROM information_schema.role_table_grants
        WHERE table_schema = current_schema() AND table_name = 'nonces' AND privilege_type = 'INSERT' AND grantee <> current_user
    LOOP
        EXECUTE format('GRANT UPDATE (agreements, creditors) ON accounts TO %I', role);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE (spent, counted, revoked) ON mandates TO %I', role);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE (next, paid, failed, settled, outcome, cancelled) ON orders TO %I', role);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE (amount) ON reversals TO %I', role);
    END LOOP;
END $$;
-- +goose StatementEnd
