// Package attack attacks whole servers from the outside, in more than 550 ways that have a name,
// and demands of each that it got nothing: no answer, no entry that says it succeeded, and no
// cent moved.
//
// It forges certificates, tokens, digests, requests, archives and log entries, uses what was
// taken back or is another's, floods, and measures whether answers tell strangers which users
// exist.
// TestPlantedFlawsAreCaught plants known mistakes in copies of the code, one at a time, and demands
// that an attack notices (make flaws). There is nothing here but tests.
package attack
