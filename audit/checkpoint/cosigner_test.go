package checkpoint_test

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"example.com/atm/audit/checkpoint"
	cosignature "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

const someCheckpoint = "log.example\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n" +
	"— log.example Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+" +
	"zyWE+xeMcTOAYQ8=\n"

func TestCosignaturesAreGoodForTheVerifiersOfAnotherProject(t *testing.T) {
	lattice, latticeKey, err := checkpoint.GenerateCosigner("mirror.example/m2")
	if err != nil {
		t.Fatal(err)
	}
	curve, curveKey, err := note.GenerateKey(rand.Reader, "mirror.example/m1")
	if err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint.NewCosigner(lattice + "\n" + curve + "\n")
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now().Add(-time.Second)
	signed, err := c.Cosign([]byte(someCheckpoint))
	if err != nil || !strings.HasPrefix(string(signed), someCheckpoint) {
		t.Fatalf("%s, %v", signed, err)
	}
	for _, key := range []string{latticeKey, curveKey} {
		verifier, err := cosignature.NewVerifierForCosignatureV1(key)
		if err != nil {
			t.Fatal(err)
		}
		n, err := note.Open(signed, note.VerifierList(verifier))
		if err != nil || len(n.Sigs) != 1 {
			t.Fatalf("%s: %v", key, err)
		}
		if at, err := cosignature.CoSigV1Timestamp(n.Sigs[0]); err != nil || at.Before(before) {
			t.Errorf("%v, %v", at, err)
		}
		changed := strings.Replace(string(signed), "\n3\n", "\n4\n", 1)
		if _, err := note.Open([]byte(changed), note.VerifierList(verifier)); err == nil {
			t.Error("the cosignature is good for another size")
		}
	}
	if _, err := c.Cosign([]byte("no checkpoint")); err == nil {
		t.Error("what is no checkpoint is cosigned")
	}
	for _, bad := range []string{"", "no key", latticeKey} {
		if _, err := checkpoint.NewCosigner(bad); err == nil {
			t.Errorf("%.20q is a key", bad)
		}
	}
	if _, _, err := checkpoint.GenerateCosigner("a b"); err == nil {
		t.Error("a name has a space")
	}
}
