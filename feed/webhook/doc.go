// Package webhook sends one signed HTTP request, and verifies one that arrives.
//
// A webhook is signed as Standard Webhooks 1.0 say, with HMAC-SHA-256 (v1) and with Ed25519
// (v1a). It goes over verified TLS to an address of the public Internet, or to one that the
// operator names, and nowhere else, whatever the URL, the DNS or the receiver say. A try ends
// within TryWithin, and takes a bounded part of the memory, however the receiver behaves.
//
// Webhook knows nothing of subscriptions and does not try twice: what is sent, to whom and when
// is decided by the caller.
//
// Sources: the Standard Webhooks specification 1.0.0 (standardwebhooks.com), RFC 2104 (HMAC),
// RFC 8032 (Ed25519), and for addresses RFC 6890 with the registries of special-purpose
// addresses that IANA keeps by it.
package webhook
