// Package attack attacks whole servers from the outside, in more than 1,300 ways that have a name,
// and demands of each that it got nothing: no answer, no entry that says it succeeded, and no
// cent moved.
//
// It forges certificates, tokens, digests, requests, forms, archives and log entries, uses what was
// taken back or is another's, signs with devices and in browsers that lie, floods, and measures
// whether answers tell strangers which users exist.
// TestPlantedFlawsAreCaught plants known mistakes in copies of the code, one at a time, and demands
// that an attack notices (make flaws). There is nothing here but tests.
package attack
