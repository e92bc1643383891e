package offline

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/auth"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/published"
	"example.com/atm/cmd/internal/retention"
	"example.com/atm/internal/durable"
	"example.com/atm/teller/replay"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/holder"
	"golang.org/x/mod/sumdb/note"
)

// archive opens the archive that f names, or else that of the server of the folder; nil if there is
// none.
func (f Folder) archive(ctx context.Context) (*archive.Archive, error) {
	location := f.Archive
	if location == "" {
		noted, err := datadir.At(f.Data).Archived().Read()
		if err != nil || noted == nil {
			return nil, err
		}
		location = noted.Location
	}
	return published.Archive(ctx, location)
}

// snapshot opens the snapshot that the journal of a store begins with: the one in the folder, or
// the one in the archive. It returns nil if the journal is whole, and replay.ErrNoSnapshot if there
// is no snapshot.
func (f Folder) snapshot(ctx context.Context, dir *datadir.Dir, key datadir.VaultKey,
	store vault.Store,
) (vault.Backend, error) {
	base, err := store.Base(ctx)
	if err != nil || base.Index == 0 {
		return nil, err
	}
	from, err := f.archive(ctx)
	if err != nil {
		return nil, err
	}
	log, err := vault.OpenLog(ctx, store)
	if err != nil {
		return nil, err
	}
	path, err := retention.Snapshot(ctx, dir.Snapshots(), base, from, log.InJournal(0))
	switch {
	case err != nil:
		return nil, err
	case path == "" && from == nil:
		return nil, fmt.Errorf("%w: name the archive that has it with --archive",
			replay.ErrNoSnapshot)
	case path == "":
		return nil, fmt.Errorf("%w: it is not in the archive %s either; name the one that has it "+
			"with --archive", replay.ErrNoSnapshot, from)
	}
	snapshot, err := openSnapshot(path, key)
	if err != nil {
		return nil, err
	}
	return snapshot, nil
}

func openSnapshot(path string, key datadir.VaultKey) (*boltstore.Store, error) {
	secret, err := key.Snapshots()
	if err != nil {
		return nil, err
	}
	snapshot, err := boltstore.OpenReadOnly(path, secret)
	if err != nil {
		return nil, fmt.Errorf("the snapshot of the accounts: %w", err)
	}
	return snapshot, nil
}

// rules are the rules that a replay of a store follows. The snapshot in them, if there is one,
// has to be closed.
func (f Folder) rules(ctx context.Context, dir *datadir.Dir, key datadir.VaultKey,
	store vault.Store,
) (replay.Rules, error) {
	holders, err := holder.NewHasher(key.Requests)
	if err != nil {
		return replay.Rules{}, err
	}
	rules := replay.Rules{
		Permit: daemon.Permit, Issuer: auth.IssuerOf(dir.Config.Name), Holders: holders,
		Progress: f.progress,
	}
	rules.Snapshot, err = f.snapshot(ctx, dir, key, store)
	return rules, err
}

func closeSnapshot(rules replay.Rules) {
	if rules.Snapshot != nil {
		rules.Snapshot.Close()
	}
}

// An Archived says what a rebuild from an archive came to.
type Archived struct {
	Archive  string `json:"archive"`
	Snapshot int64  `json:"snapshot"` // entries of the log that the snapshot had seen
	Found    int64  `json:"found"`    // entries of the log, in the archive and in the folder
	Entries  int64  `json:"entries"`  // of the log now
	Accounts int    `json:"accounts"` // including the bank's own

	// Anew is what the archive does not have, and what has to be made anew.
	Anew []string `json:"anew"`
}

// RebuildFrom makes the vault of a data folder of which nothing but keys is left, from the newest
// good snapshot in f.Archive and the entries of the log after it. If the folder still has a
// published log that goes further, what that has counts as well. It publishes the log again.
func (f Folder) RebuildFrom(ctx context.Context, log *slog.Logger) (*Archived, error) {
	r := rebuilding{folder: f, log: log, done: &Archived{Archive: f.Archive}}
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	err := r.restore(ctx)
	if err := errors.Join(err, r.dir.Close()); err != nil {
		return nil, err
	}
	if err := f.publish(ctx, log); err != nil {
		return nil, err
	}
	found, err := f.Check(ctx, func(problem string) {
		log.ErrorContext(ctx, "rebuilt vault", slog.String("problem", problem))
	})
	if err != nil {
		return nil, err
	}
	r.done.Entries, r.done.Accounts = found.Entries, found.Accounts
	return r.done, nil
}

// A rebuilding is a rebuild from an archive.
type rebuilding struct {
	folder  Folder
	log     *slog.Logger
	dir     *datadir.Dir
	key     datadir.VaultKey
	signer  *checkpoint.Signer
	archive *archive.Archive

	archived *audit.Log // up to the newest chapter
	whole    *audit.Log // archived and published
	taken    retention.Taken
	done     *Archived
}

// open looks at what there is, and verifies it. It changes nothing but the configuration of a
// folder that has none.
func (r *rebuilding) open(ctx context.Context) (err error) {
	r.dir = datadir.At(r.folder.Data)
	for _, file := range []string{r.dir.VaultKey(), r.dir.AuditKey()} {
		if !datadir.Exists(file) {
			return fmt.Errorf("%w: %s is missing: without it nothing can be rebuilt",
				datadir.ErrUsage, file)
		}
	}
	if datadir.Exists(r.dir.Vault()) {
		return fmt.Errorf("%w: %s exists: rebuild without --from, or move it away",
			datadir.ErrUsage, r.dir.Vault())
	}
	if err := r.dir.Lock(); err != nil {
		return err
	}
	if err := r.verify(ctx); err != nil {
		return errors.Join(err, r.dir.Close())
	}
	return nil
}

func (r *rebuilding) verify(ctx context.Context) (err error) {
	if r.key, err = r.dir.ReadVaultKey(r.folder.Passphrase); err != nil {
		return err
	}
	secret, err := durable.ReadSecret(r.dir.AuditKey())
	if err != nil {
		return err
	}
	if r.signer, err = checkpoint.NewSigner(string(secret)); err != nil {
		return fmt.Errorf("%s: %w", r.dir.AuditKey(), err)
	}
	if r.archive, err = r.folder.archive(ctx); err != nil {
		return err
	}
	chapter, err := r.archive.Newest(ctx)
	if err != nil {
		return err
	}
	vkeys := strings.Join(r.signer.Verifiers(), "\n")
	archived, err := audit.OpenLogAt(ctx, r.archive.At(chapter), chapter.Signed, vkeys)
	if err != nil {
		return fmt.Errorf("%s: %w", r.archive, err)
	}
	files := r.archive.At(chapter)
	if r.whole, err = r.longest(ctx, archived, vkeys); err != nil {
		return err
	}
	if r.whole != archived {
		files = audit.Dir(r.dir.Audit())
	}
	if err := r.outdated(ctx, files); err != nil {
		return err
	}
	r.archived, r.done.Found = archived, r.whole.Size
	return r.configure(r.signer.Origin())
}

// longest returns the published log in the folder, if it extends the archived one.
func (r *rebuilding) longest(ctx context.Context, archived *audit.Log, vkeys string) (*audit.Log,
	error,
) {
	hot := audit.Dir(r.dir.Audit())
	published, err := audit.OpenLog(ctx, archive.Over(hot, r.archive), vkeys)
	if errors.Is(err, fs.ErrNotExist) {
		return archived, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the published log %s: %w", hot, err)
	}
	if published.Size <= archived.Size {
		return archived, nil
	}
	edge, err := published.Edge(ctx, archived.Size)
	if err != nil {
		return nil, err
	}
	if merkle.RootOf(archived.Size, edge) != archived.Root {
		return nil, fmt.Errorf("the published log %s and the archive contradict each other: move "+
			"the wrong one away", hot)
	}
	return published, nil
}

// outdated says so when the log was signed by a successor of the key in the folder last, as after a
// rotation since keys/ was copied. An operator who lost that key can go on without it, but auditors
// who know it cannot follow.
func (r *rebuilding) outdated(ctx context.Context, log audit.Files) error {
	beside, err := audit.ReadKey(ctx, log)
	if err != nil {
		return err
	}
	newest, _, _ := strings.Cut(strings.TrimSpace(beside), "\n")
	if !slices.Contains(r.signer.Verifiers(), newest) {
		r.done.anew("the key of the log: %s is from before a rotation to %s, and auditors who "+
			"know that one refuse what the earlier one signs; remove what was rebuilt and "+
			"rebuild with the newer file, or, if that is lost, begin another log: atmctl audit "+
			"recover",
			r.dir.AuditKey(), newest)
	}
	return nil
}

// configure begins the folder anew, under the name that it had: the next start makes what a new
// folder has and this one lacks. The first operator gets a certificate as at init.
func (r *rebuilding) configure(origin string) error {
	name, _, _ := strings.Cut(origin, "/") // recover gives a log another origin of the same name
	wanted := datadir.Config{Name: name, Realm: name, Origin: origin}
	kept, err := r.dir.ReadConfig()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.done.anew("the configuration, as that of a new server named %s: look at config.toml",
			name)
	case err != nil:
		return err
	case kept.Origin != origin:
		return fmt.Errorf("the configuration is of the log %s, the key of %s", kept.Origin, origin)
	default:
		wanted = *kept
	}
	operator := "the certificate of user:operator, at the next start, in clients/operator"
	if r.signer.InModule() { // that it is issued has an entry
		operator = "the certificate of user:operator, when the server runs with its --audit-key: " +
			"atmctl cert issue user:operator --out DIR --data " + r.dir.Root
	}
	for _, made := range []struct{ path, what string }{
		{r.dir.TokenKey(), "the key of tokens, at the next start: issue tokens again, since " +
			"earlier ones are good no more: atmctl token issue"},
		{first(r.dir.RootCA), "the authorities and the certificate of the server, at the next " +
			"start: give clients the new ca/ca.crt, and new certificates, since earlier ones are " +
			"good no more: atmctl cert issue SUBJECT --out DIR"},
		{r.dir.Client("operator"), operator},
	} {
		if !datadir.Exists(made.path) {
			r.done.anew("%s", made.what)
		}
	}
	wanted.Store, wanted.Empty = "", true
	return r.dir.BeginAgain(wanted)
}

func first(pair func() (string, string)) string {
	path, _ := pair()
	return path
}

func (a *Archived) anew(format string, args ...any) {
	a.Anew = append(a.Anew, fmt.Sprintf(format, args...))
}

// restore makes the vault.
func (r *rebuilding) restore(ctx context.Context) error {
	if err := durable.MkdirAll(r.dir.Snapshots(), 0o700); err != nil {
		return err
	}
	fetched := filepath.Join(r.dir.Snapshots(), "fetched.db")
	if err := r.fetch(ctx, fetched); err != nil {
		return err
	}
	snapshot, err := openSnapshot(fetched, r.key)
	if err != nil {
		return err
	}
	defer snapshot.Close()
	part := r.dir.Vault() + exportSuffix
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	to, err := boltstore.Create(part, r.key.Secret)
	if err != nil {
		return err
	}
	base, err := r.fill(ctx, snapshot, to)
	if err := errors.Join(err, to.Close()); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	if err := durable.Rename(fetched, retention.Kept(r.dir.Snapshots(), base)); err != nil {
		return err
	}
	return durable.Rename(part, r.dir.Vault())
}

// fetch fetches the newest snapshot that is the one the log names. The entries after an earlier one
// come to the same.
func (r *rebuilding) fetch(ctx context.Context, to string) error {
	sizes, err := r.archive.Sizes(ctx)
	if err != nil {
		return err
	}
	var unusable error
	for _, size := range slices.Backward(sizes) {
		if size > r.archived.Size { // written since
			continue
		}
		if r.taken, err = retention.Find(ctx, r.archived, size); err == nil {
			err = retention.Fetch(ctx, r.archive, size, r.taken.Sum, to)
		}
		var file *audit.FileError
		switch {
		case err == nil:
			r.done.Snapshot = r.taken.Size
			return nil
		case errors.Is(err, audit.ErrDiffers), errors.Is(err, fs.ErrNotExist),
			errors.Is(err, durable.ErrNotRegular), errors.As(err, &file):
			unusable = cmp.Or(unusable, err) // of the newest
			r.log.WarnContext(ctx, "a snapshot cannot be used: looking for an earlier one",
				slog.Any("error", err))
		default:
			return err
		}
	}
	return unusable
}

// fill fills an empty vault with what the snapshot and the entries after it come to, and with the
// journal from the snapshot on.
func (r *rebuilding) fill(ctx context.Context, snapshot, to *boltstore.Store) (base vault.Base,
	err error,
) {
	log, err := vault.OpenLog(ctx, snapshot)
	if err != nil {
		return base, err
	}
	logs, err := snapshot.Logs(ctx)
	if err != nil {
		return base, err
	}
	if base, err = snapshot.Base(ctx); err != nil {
		return base, err
	}
	if base.State, err = vault.JournalSize(ctx, snapshot); err != nil {
		return base, err
	}
	if base.State != log.InJournal(r.taken.Size) {
		return base, fmt.Errorf("the snapshot has seen %d entries, the log says %d", base.State,
			log.InJournal(r.taken.Size))
	}
	base.Sum = r.taken.Sum
	holders, err := holder.NewHasher(r.key.Requests)
	if err != nil {
		return base, err
	}
	restorer, err := replay.NewRestorer(ctx, replay.Rules{
		Permit: daemon.Permit, Issuer: auth.IssuerOf(r.dir.Config.Name), Snapshot: snapshot,
		Holders: holders,
	}, logs)
	if err != nil {
		return base, err
	}
	signed, err := r.ownSignatures()
	if err != nil {
		return base, err
	}
	return base, to.Fill(ctx, func(ctx context.Context, yield func(*vault.Part) error) (
		*vault.Trail, error,
	) {
		if err := r.entries(ctx, snapshot, log, base, restorer, yield); err != nil {
			return nil, err
		}
		restored, err := restorer.Restored(ctx)
		if err != nil {
			return nil, fmt.Errorf("the archive is not to be trusted: %w", err)
		}
		r.done.Anew = append(r.done.Anew, restored.Anew...)
		for part := range restored.Parts() {
			if err := yield(part); err != nil {
				return nil, err
			}
		}
		return &vault.Trail{
			Head: r.whole.Head(), Checkpoint: signed, Logs: logs, Base: base,
		}, nil
	})
}

// entriesAtOnce bounds the entries of a part.
const entriesAtOnce = 1024

// entries yields the journal from the base on: what the snapshot has of it, and the entries of the
// log after that, which the restorer learns.
func (r *rebuilding) entries(ctx context.Context, snapshot vault.Store, log vault.CurrentLog,
	base vault.Base, restorer *replay.Restorer, yield func(*vault.Part) error,
) error {
	part := vault.Part{First: base.Index}
	flush := func() error {
		err := yield(&part)
		part = vault.Part{First: part.First + vault.JournalIndex(len(part.Leaves))}
		return err
	}
	add := func(leaf []byte) error {
		if part.Leaves = append(part.Leaves, bytes.Clone(leaf)); len(part.Leaves) < entriesAtOnce {
			return nil
		}
		return flush()
	}
	if err := snapshot.Entries(ctx, base.Index, base.State, func(_ vault.JournalIndex,
		leaf []byte,
	) error {
		return add(leaf)
	}); err != nil {
		return err
	}
	if err := r.whole.Leaves(ctx, r.taken.Size, r.whole.Size, func(i int64, leaf []byte) error {
		r.folder.progress(i+1, r.whole.Size)
		if err := restorer.Entry(log.InJournal(i), leaf); err != nil {
			return err
		}
		return add(leaf)
	}); err != nil {
		return err
	}
	return flush()
}

// ownSignatures is the checkpoint of the log without what others have signed.
func (r *rebuilding) ownSignatures() ([]byte, error) {
	var verifiers []note.Verifier
	for _, vkey := range r.signer.Verifiers() {
		v, err := note.NewVerifier(vkey)
		if err != nil {
			return nil, err
		}
		verifiers = append(verifiers, v)
	}
	n, err := note.Open(r.whole.WithCosignatures(nil), note.VerifierList(verifiers...))
	if err != nil {
		return nil, err
	}
	text := n.Text + "\n"
	for _, sig := range n.Sigs {
		text += "— " + sig.Name + " " + sig.Base64 + "\n"
	}
	return []byte(text), nil
}
