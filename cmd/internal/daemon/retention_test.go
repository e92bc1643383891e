//go:build unix

package daemon_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/audit/audittest"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/inbox"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/vaulttest"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// quickly archives to a folder at a pace for tests.
func quickly(to string) func(*daemon.Options) {
	return func(o *daemon.Options) {
		o.Retention = daemon.Retention{
			Archive: to, Keep: 600 * time.Millisecond,
			Every: 300 * time.Millisecond,
		}
	}
}

// deposits makes deposits of a cent with request ids, until enough says so.
func deposits(t *testing.T, h *daemontest.Server, enough func() bool) (ids []atm.RequestID,
	receipts []string,
) {
	t.Helper()
	c := h.As(t, "demo")
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for !enough() {
				id := atm.RequestID(atm.NewUUID(time.Now()))
				a, err := c.Deposit(t.Context(), daemontest.Account, 1, id)
				if err != nil || !a.OK() {
					t.Errorf("%+v, %v", a, err)
					return
				}
				mu.Lock()
				ids, receipts = append(ids, id), append(receipts, a.Receipt)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return ids, receipts
}

// baseOf waits until the journal of a server begins at an index or after it, by the file that
// its published log has.
func begins(t *testing.T, h *daemontest.Server, least int64) func() bool {
	return func() bool {
		at, err := archive.ReadPruned(t.Context(), audit.Dir(filepath.Join(h.Data, "audit")))
		return err == nil && at >= least
	}
}

// archived waits until an archive has the entries of all receipts.
func archived(t *testing.T, away string, receipts []string) {
	t.Helper()
	newest := int64(0)
	for _, receipt := range receipts {
		digits, _, _ := strings.Cut(receipt, " ")
		index, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		newest = max(newest, index)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		c, err := archive.New(archive.NewFolder(away)).Newest(t.Context())
		if err == nil && c.Size > newest {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the archive has %d entries, not entry %d: %v", c.Size, newest, err)
		}
	}
}

// everything is what there is in the vault of a stopped server.
func everything(t *testing.T, data string) (vault.Part, *vault.Trail) {
	t.Helper()
	dir := datadir.At(data)
	key, err := dir.ReadVaultKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	store, err := boltstore.OpenReadOnly(dir.Vault(), key.Secret)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	return vaulttest.Contents(t, store)
}

// keysOf copies the keys of a data folder into a new one, which has nothing else.
func keysOf(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(to, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(from, "keys", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, "keys", filepath.Base(file)), data,
			0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestServerIsRebuiltFromItsArchiveAndItsKeys lets a server archive and trim while it works, and
// loses all of its data folder but keys/. What is rebuilt has every record as it was, and goes on.
func TestServerIsRebuiltFromItsArchiveAndItsKeys(t *testing.T) {
	daemontest.Once(t)
	away := filepath.Join(t.TempDir(), "archive")
	if err := os.Mkdir(away, 0o700); err != nil {
		t.Fatal(err)
	}
	h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), quickly(away))
	ids, receipts := deposits(t, h, begins(t, h, 1024))
	// An entry that is in the archive alone is proved as ever.
	index, _, _ := strings.Cut(receipts[0], " ")
	daemontest.Must(t)(h.As(t, "demo").Call(t.Context(), "receipt", index))
	archived(t, away, receipts)
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, problem := range checked(t, offline.Folder{Data: h.Data}) {
		t.Errorf("fsck: %s", problem)
	}
	before, trail := everything(t, h.Data)
	if trail.Base.Index < 1024 || before.First != trail.Base.Index {
		t.Fatalf("the journal begins at %d, its entries at %d", trail.Base.Index, before.First)
	}

	fresh := filepath.Join(t.TempDir(), "atm-data")
	keysOf(t, h.Data, fresh)
	done, err := offline.Folder{Data: fresh, Archive: away}.RebuildFrom(t.Context(),
		daemontest.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Anew) != 3 {
		t.Errorf("to be made anew: %q", done.Anew)
	}
	after, _ := everything(t, fresh)
	operatorAnew := cmpopts.IgnoreFields(vault.Records{}, "Certificates", "Revocations")
	if diff := gocmp.Diff(before.Records, after.Records, operatorAnew) +
		gocmp.Diff(before.Requests, after.Requests); diff != "" {
		t.Errorf("it is another one: %s", diff)
	}

	// It goes on: what was answered is answered again, and a customer with a certificate of the
	// new authority withdraws.
	certify(t, fresh, "demo")
	again := daemontest.StartOne(t, fresh, quickly(away))
	last := len(ids) - 1
	a := daemontest.Must(t)(again.As(t, "demo").Deposit(t.Context(), daemontest.Account, 1,
		ids[last]))
	if a.Receipt != receipts[last] {
		t.Errorf("a request id is answered with %q, it was %q", a.Receipt, receipts[last])
	}
	daemontest.Must(t)(again.As(t, "demo").Withdraw(t.Context(), daemontest.Account, 100, ""))
	deposits(t, again, begins(t, again, int64(trail.Base.Index)+512))
	if err := again.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, problem := range checked(t, offline.Folder{Data: fresh}) {
		t.Errorf("fsck of what was rebuilt: %s", problem)
	}
}

// certify gives a user a certificate, as the owner of the disk can.
func certify(t *testing.T, data, user string) {
	t.Helper()
	folder := filepath.Join(data, "clients", user)
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := certs.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	request, err := certs.NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := offline.Folder{Data: data}.Issue(t.Context(), inbox.Issuing{
		Subject: "user:" + user, Request: string(request),
	}, daemontest.Discard)
	if err != nil || issued.Error != "" {
		t.Fatal(err, issued.Error)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"client.key": string(secret), "client.crt": issued.Certificate, "ca.crt": issued.Authority,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRebuildSaysThatTheKeyOfTheLogWasRotatedSince rebuilds with the keys of before a rotation and
// with those of after it.
func TestRebuildSaysThatTheKeyOfTheLogWasRotatedSince(t *testing.T) {
	daemontest.Once(t)
	away, before := newArchive(t), filepath.Join(t.TempDir(), "before")
	h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), forNow(away))
	daemontest.Until(t, chaptersIn(t, away, 0, 0))
	keysOf(t, h.Data, before)
	daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.audit.rotate"))
	_, receipts := deposits(t, h, enough(10))
	archived(t, away, receipts)
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	beside, err := audit.ReadKey(t.Context(), audit.Dir(filepath.Join(h.Data, "audit")))
	if err != nil {
		t.Fatal(err)
	}
	newest, _, _ := strings.Cut(beside, "\n")
	after := filepath.Join(t.TempDir(), "after")
	keysOf(t, h.Data, after)
	for data, want := range map[string]int{before: 1, after: 0} {
		done, err := offline.Folder{Data: data, Archive: away}.RebuildFrom(t.Context(),
			daemontest.Discard)
		if err != nil {
			t.Fatal(err)
		}
		said := 0
		for _, anew := range done.Anew {
			said += strings.Count(anew, "is from before a rotation to "+newest+",")
		}
		if said != want {
			t.Errorf("%s: to be made anew: %q", filepath.Base(data), done.Anew)
		}
	}
}

// TestRebuildBeginsWithAnEarlierSnapshotWhenTheNewestIsDamaged damages the newest snapshots of an
// archive. What is rebuilt is the same, since the entries after an earlier one come to the same.
func TestRebuildBeginsWithAnEarlierSnapshotWhenTheNewestIsDamaged(t *testing.T) {
	daemontest.Once(t)
	away := newArchive(t)
	h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), forNow(away))
	daemontest.Until(t, chaptersIn(t, away, 0, 0))
	var receipts []string
	for chapters := 1; chapters <= 3; chapters++ {
		_, more := deposits(t, h, enough(100))
		receipts = append(receipts, more...)
		archived(t, away, receipts)
	}
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	before, _ := everything(t, h.Data)
	// A chapter without a checkpoint is not complete: the server may have stopped before.
	snapshots, err := filepath.Glob(filepath.Join(away, "chapter", "*", "checkpoint"))
	if err != nil || len(snapshots) < 4 {
		t.Fatalf("%q, %v", snapshots, err)
	}
	for i, checkpoint := range snapshots {
		snapshots[i] = filepath.Join(filepath.Dir(checkpoint), "snapshot")
	}
	damage := func(file string) {
		t.Helper()
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		replace(t, file, audittest.Flip(5000)(data))
	}
	good := len(snapshots) - 3 // of which the newest is to be taken
	damage(snapshots[good+2])
	if err := os.Remove(snapshots[good+1]); err != nil {
		t.Fatal(err)
	}
	rebuild := func() (*offline.Archived, string, error) {
		t.Helper()
		data := filepath.Join(t.TempDir(), "atm-data")
		keysOf(t, h.Data, data)
		done, err := offline.Folder{Data: data, Archive: away}.RebuildFrom(t.Context(),
			daemontest.Discard)
		return done, data, err
	}
	done, data, err := rebuild()
	if err != nil {
		t.Fatal(err)
	}
	sizeOf := func(chapter int) int64 {
		t.Helper()
		size, err := strconv.ParseInt(filepath.Base(filepath.Dir(snapshots[chapter])), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return size
	}
	if done.Snapshot < sizeOf(good-1) || done.Snapshot >= sizeOf(good) {
		t.Errorf("the snapshot had seen %d entries, its chapter has %d", done.Snapshot,
			sizeOf(good))
	}
	after, _ := everything(t, data)
	operatorAnew := cmpopts.IgnoreFields(vault.Records{}, "Certificates", "Revocations")
	if diff := gocmp.Diff(before.Records, after.Records, operatorAnew) +
		gocmp.Diff(before.Requests, after.Requests); diff != "" {
		t.Errorf("it is another one: %s", diff)
	}
	for _, file := range snapshots[:good+1] {
		damage(file)
	}
	if _, _, err := rebuild(); !errors.Is(err, audit.ErrDiffers) {
		t.Errorf("without a good snapshot: %v", err)
	}
}
