-- +goose Up

-- The OpenID provider by which a session began, and the id of the user there; empty for another method.
ALTER TABLE sessions
    ADD COLUMN issuer text NOT NULL DEFAULT '',
    ADD COLUMN person text NOT NULL DEFAULT '';
