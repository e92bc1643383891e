-- +goose Up

-- Whose books these are. The mark tells which vault.key opens what is sealed.
CREATE TABLE house (
    id       smallint PRIMARY KEY CHECK (id = 1),
    name     text     NOT NULL,
    mark     bytea    NOT NULL,
    complete boolean  NOT NULL
);

-- The head of the journal, one row. Each writer holds it until the
-- commit, so the order of the commits is the order of the journal.
CREATE TABLE log (
    id         smallint PRIMARY KEY CHECK (id = 1),
    size       bigint   NOT NULL CHECK (size >= 0), -- entries in the journal
    head       bytea    NOT NULL,                   -- of the current audit log
    checkpoint bytea,                               -- that signs the head
    logs       bigint[] NOT NULL,                   -- where audit logs began
    files      bigint   NOT NULL                    -- version of the newest file
) WITH (fillfactor = 50);

INSERT INTO log (id, size, head, logs, files) VALUES (1, 0, '\x0000000000000000', '{0}', 0);

-- The journal. Its key is what keeps two entries from having one place.
CREATE TABLE journal (
    index bigint PRIMARY KEY CHECK (index >= 0),
    leaf  bytea  NOT NULL
);

-- Money is in cents. What customers hold is never negative; cash and equity, the
-- bank's own, may be.
CREATE TABLE accounts (
    name            text COLLATE "C" PRIMARY KEY,
    number          bigint UNIQUE CHECK (number BETWEEN 1 AND 9007199254740991),
    owner           text     NOT NULL,
    standing        smallint NOT NULL CHECK (standing BETWEEN 0 AND 2),
    balance         bigint   NOT NULL,
    version         bigint   NOT NULL CHECK (version >= 1),
    born            bigint   NOT NULL, -- entry that made version 1, or an earlier one
    pending         bigint[] NOT NULL, -- id, amount and end (in seconds since 1970) of each hold
    limit_operation bigint   NOT NULL,
    limit_amount    bigint   NOT NULL,
    limit_count     bigint   NOT NULL,
    limit_zone      text     NOT NULL,
    spent_day       bigint   NOT NULL,
    spent_amount    bigint   NOT NULL,
    spent_count     bigint   NOT NULL,
    CHECK (CASE WHEN number IS NULL THEN name LIKE '%:%' ELSE name = number::text END),
    CHECK (number IS NULL OR balance >= 0)
) WITH (fillfactor = 70);

-- Which entry made which version of an account.
CREATE TABLE versions (
    account text COLLATE "C" NOT NULL,
    version bigint           NOT NULL CHECK (version >= 1),
    index   bigint           NOT NULL,
    PRIMARY KEY (account, version)
);

CREATE TABLE holds (
    id      bigint PRIMARY KEY,
    account text COLLATE "C" NOT NULL,
    amount  bigint           NOT NULL CHECK (amount > 0),
    state   smallint         NOT NULL CHECK (state BETWEEN 0 AND 2)
);

-- Which entry answered a request id first.
CREATE TABLE requests (
    key   bytea   PRIMARY KEY,
    index bigint  NOT NULL,
    day   integer NOT NULL -- since 1970, of the entry
);
CREATE INDEX requests_day ON requests (day);

CREATE TABLE grants (
    id         text COLLATE "C" PRIMARY KEY,
    grantor    text        NOT NULL,
    grantee    text        NOT NULL,
    accounts   text[]      NOT NULL,
    operations text[]      NOT NULL,
    cap        bigint      NOT NULL,
    spent      bigint      NOT NULL CHECK (spent BETWEEN 0 AND cap),
    expires    timestamptz NOT NULL
);

-- Changed is the first entry of the commit that wrote a row: other replicas ask
-- for what is new.
CREATE TABLE users (
    subject  text COLLATE "C" PRIMARY KEY,
    roles    text[]  NOT NULL,
    disabled boolean NOT NULL,
    ha1      bytea, -- sealed
    slow     bytea, -- sealed
    changed  bigint  NOT NULL
);
CREATE INDEX users_changed ON users (changed);

CREATE TABLE revocations (
    name    text COLLATE "C" PRIMARY KEY,
    at      timestamptz NOT NULL,
    changed bigint      NOT NULL
);
CREATE INDEX revocations_changed ON revocations (changed);

CREATE TABLE certificates (
    serial    text COLLATE "C" PRIMARY KEY,
    subject   text        NOT NULL,
    not_after timestamptz NOT NULL
);
CREATE INDEX certificates_not_after ON certificates (not_after);

-- Keys and certificates that all replicas share, sealed.
CREATE TABLE files (
    name    text COLLATE "C" PRIMARY KEY,
    sealed  bytea  NOT NULL,
    version bigint NOT NULL
);

-- Uses of nonces of HTTP Digest: each works once, on whichever replica.
CREATE TABLE nonces (
    nonce text COLLATE "C" NOT NULL,
    count bigint           NOT NULL,
    until timestamptz      NOT NULL, -- it is stale from then on
    PRIMARY KEY (nonce, count)
);
CREATE INDEX nonces_until ON nonces (until);

-- Failed sign-ins that each replica has counted, for the throttles of the others.
CREATE TABLE failures (
    replica bytea       NOT NULL,
    source  bytea       NOT NULL, -- an address, and the name that was claimed, as it came
    n       bigint      NOT NULL, -- since the start of the replica
    changed timestamptz NOT NULL,
    PRIMARY KEY (replica, source)
);
CREATE INDEX failures_changed ON failures (changed);

-- What has been written stays, even for the owner of the tables.
REVOKE UPDATE, DELETE, TRUNCATE ON journal FROM PUBLIC, CURRENT_USER;
