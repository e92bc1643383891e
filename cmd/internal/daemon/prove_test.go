//go:build unix

package daemon_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
)

// TestReceiptOfForgedLogIsNoProof changes a tile of the published log of a running server, and
// requests a proof.
func TestReceiptOfForgedLogIsNoProof(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), nil)
	demo := h.As(t, "demo")
	deposit := daemontest.Must(t)(demo.Deposit(t.Context(), daemontest.Account, 100, "prove-1"))
	var index int64
	if _, err := fmt.Sscan(deposit.Receipt, &index); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(h.Data, "audit")
	forge := func() { // the last tile, as it is published now
		t.Helper()
		var size int64
		daemontest.Until(t, func() bool {
			_, c, err := audit.ReadCheckpoint(t.Context(), audit.Dir(dir))
			size = c.Size
			return err == nil && size > index
		})
		tile := filepath.Join(dir, "tile/0/000.p", fmt.Sprint(size))
		data, err := os.ReadFile(tile)
		if err != nil {
			t.Fatal(err)
		}
		data[index*32] ^= 1
		if err := os.WriteFile(tile, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var receipt *client.Answer
	for range 5 { // the log may have grown, also by this test's requests
		forge()
		var err error
		if receipt, err = demo.Call(t.Context(), string(atm.Receipt),
			fmt.Sprint(index)); err != nil {
			t.Fatal(err)
		}
		if receipt.Code != atm.OK {
			break
		}
	}
	if receipt.Code != atm.Unavailable || !strings.Contains(receipt.Reason, "does not prove") {
		t.Errorf("out of a forged log: %s %q %q", receipt.Code, receipt.Reason, receipt.Text())
	}
	if !strings.Contains(h.Log.String(), "differs from the signed tree") {
		t.Error("the operator is not told")
	}
}
