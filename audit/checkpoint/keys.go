package checkpoint

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"filippo.io/mldsa"
	cosignature "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// The algorithms of the keys of a log, as the signature types of C2SP signed-note.
const (
	algEd25519 algorithm = 0x01
	algMLDSA44 algorithm = 0x06 // as in C2SP tlog-cosignature, by the log itself
)

// algorithms are those that a log signs by, in the order of its signatures.
var algorithms = [...]algorithm{algEd25519, algMLDSA44}

type algorithm byte

func (a algorithm) String() string {
	return map[algorithm]string{algEd25519: "Ed25519", algMLDSA44: "ML-DSA-44"}[a]
}

// A publicKey is a public key of a log, parsed.
type publicKey struct {
	note.Verifier // of checkpoints
	algorithm     algorithm
	vkey          string
	bytes         []byte
}

// parseKey parses a verifier key. It returns an error that is ErrKey.
func parseKey(vkey string) (publicKey, error) {
	_, rest, _ := strings.Cut(vkey, "+")
	id, data, _ := strings.Cut(rest, "+")
	key, err := base64.StdEncoding.DecodeString(data)
	if err != nil || len(key) == 0 {
		return publicKey{}, ErrKey
	}
	k := publicKey{algorithm: algorithm(key[0]), vkey: vkey, bytes: key[1:]}
	switch k.algorithm {
	case algEd25519:
		k.Verifier, err = note.NewVerifier(vkey)
	case algMLDSA44:
		k.Verifier, err = cosignature.NewVerifierForCosignatureV1(vkey)
	default:
		err = ErrKey
	}
	if err != nil || id != fmt.Sprintf("%08x", k.KeyHash()) {
		return publicKey{}, ErrKey
	}
	return k, nil
}

func parseKeys(vkeys []string) ([]publicKey, error) {
	keys := make([]publicKey, len(vkeys))
	for i, vkey := range vkeys {
		var err error
		if keys[i], err = parseKey(vkey); err != nil {
			return nil, err
		}
	}
	if len(keys) == 0 {
		return nil, ErrKey
	}
	return keys, nil
}

// Short names public keys for people: by name and key ID alone those that are too long to read.
func Short(vkeys ...string) string {
	short := slices.Clone(vkeys)
	for i, vkey := range vkeys {
		if k, err := parseKey(vkey); err == nil && k.algorithm == algMLDSA44 {
			short[i] = fmt.Sprintf("%s+%08x (%s)", k.Name(), k.KeyHash(), k.algorithm)
		}
	}
	return strings.Join(short, " and ")
}

// rotationContext keeps what an ML-DSA-44 key signs of rotations apart from what it signs of
// checkpoints (FIPS 204, section 5.2).
var rotationContext = &mldsa.Options{Context: rotationLine}

// ofRotations is the verifier of the rotations that k signs.
func (k publicKey) ofRotations() (note.Verifier, error) {
	if k.algorithm == algEd25519 {
		return k.Verifier, nil
	}
	key, err := mldsa.NewPublicKey(mldsa.MLDSA44(), k.bytes)
	return rotationVerifier{k.Verifier, key}, err
}

type rotationVerifier struct {
	note.Verifier
	key *mldsa.PublicKey
}

// Verify implements note.Verifier.
func (v rotationVerifier) Verify(text, signature []byte) bool {
	return mldsa.Verify(v.key, text, signature, rotationContext) == nil
}

// A secretKey is a key that signs for a log.
type secretKey struct {
	note.Signer // of rotations, and with Ed25519 of checkpoints too
	algorithm   algorithm
	vkey        string
	heads       *cosignature.SubtreeSigner // of checkpoints, with ML-DSA-44
	module      *moduleSigner              // is Signer, if the key is in a module; or else nil
}

var errSecretKey = errors.New("this is not the secret key of a log")

// parseSigning parses a line of NewSigner: a secret key, or the public key of one in a module.
func parseSigning(line string, modules []crypto.Signer) (secretKey, error) {
	if strings.HasPrefix(line, "PRIVATE+KEY+") { // as no public key does
		return parseSecret(line)
	}
	return parseModuleKey(line, modules)
}

// parseSecret parses one line of GenerateKey. Errors do not quote it.
func parseSecret(skey string) (secretKey, error) {
	parts := strings.SplitN(skey, "+", 5) // base64 may have a plus as well
	if len(parts) != 5 {
		return secretKey{}, errSecretKey
	}
	data, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || len(data) != 1+ed25519.SeedSize { // the seed of ML-DSA is as long
		return secretKey{}, errSecretKey
	}
	k := secretKey{algorithm: algorithm(data[0])}
	var public []byte
	switch k.algorithm {
	case algEd25519:
		public = ed25519.NewKeyFromSeed(data[1:]).Public().(ed25519.PublicKey)
		k.Signer, err = note.NewSigner(skey)
	case algMLDSA44:
		var key *mldsa.PrivateKey
		if key, err = mldsa.NewPrivateKey(mldsa.MLDSA44(), data[1:]); err != nil {
			break
		}
		public = key.PublicKey().Bytes()
		k.heads, err = cosignature.NewMLDSASigner(skey)
		k.Signer = rotationSigner{k.heads, key}
	default:
		err = errSecretKey
	}
	if err != nil {
		return secretKey{}, errSecretKey
	}
	k.vkey = fmt.Sprintf("%s+%08x+%s", k.Name(), k.KeyHash(),
		base64.StdEncoding.EncodeToString(append(data[:1:1], public...)))
	return k, nil
}

type rotationSigner struct {
	note.Signer
	key *mldsa.PrivateKey
}

// Sign implements note.Signer.
func (s rotationSigner) Sign(text []byte) ([]byte, error) {
	return s.key.Sign(nil, text, rotationContext)
}

// GenerateKey returns a new Ed25519 key for the log origin: the secret key, and the public key
// for verifiers.
func GenerateKey(origin string) (skey, vkey string, err error) {
	return note.GenerateKey(rand.Reader, origin)
}

// GenerateKeys returns new keys of both algorithms for the log origin, Ed25519 and ML-DSA-44,
// one a line.
func GenerateKeys(origin string) (skeys, vkeys string, err error) {
	skey, vkey, err := GenerateKey(origin)
	if err != nil {
		return "", "", err
	}
	skey2, vkey2, err := cosignature.GenerateMLDSAKey(origin)
	return skey + "\n" + skey2 + "\n", vkey + "\n" + vkey2 + "\n", err
}

// Newest returns of keys as NewSigner has them the first of each algorithm, one a line.
func Newest(skeys string) (string, error) {
	var newest string
	var have []algorithm
	for line := range strings.FieldsSeq(skeys) {
		k, err := parseSigning(line, nil)
		if err != nil {
			return "", err
		}
		if !slices.Contains(have, k.algorithm) {
			newest, have = newest+line+"\n", append(have, k.algorithm)
		}
	}
	return newest, nil
}
