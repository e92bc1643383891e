package offline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"example.com/atm/certs"
	"example.com/atm/cmd/internal/backup"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/internal/durable"
)

// Restore creates a data folder from a backup, or from a chain: a full backup and increments in
// order, each on the one before it. The folder must not exist, or must be empty. It is created
// only after everything was unpacked and checked and the audit log was published again. An empty
// folder that exists, such as a mount point or the target of a link, is filled and not replaced.
func (f Folder) Restore(ctx context.Context, log *slog.Logger, backups ...Backup) (found *Checked,
	err error,
) {
	data := filepath.Clean(f.Data)
	if _, err := os.Lstat(data); err == nil {
		if data, err = filepath.EvalSymlinks(data); err != nil {
			return nil, err
		}
		dir, staging, err := datadir.Claim(data)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		defer os.RemoveAll(staging)
		if found, err = f.restoreInto(ctx, staging, backups, log); err != nil {
			return nil, err
		}
		return found, dir.Place(staging)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := durable.MkdirAll(filepath.Dir(data), 0o700); err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(filepath.Dir(data), "."+filepath.Base(data)+"-restoring-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	if found, err = f.restoreInto(ctx, folder, backups, log); err != nil {
		return nil, err
	}
	return found, durable.Rename(folder, data)
}

// restoreInto creates a complete data folder in an empty folder.
func (f Folder) restoreInto(ctx context.Context, folder string, backups []Backup,
	log *slog.Logger,
) (*Checked, error) {
	unpacked, found, err := f.unpackChecked(ctx, folder, backups, log)
	if err != nil {
		return nil, err
	}
	return found, unpacked.publish(ctx, log)
}

// unpackChecked unpacks backups into an empty folder, and checks what they come to.
func (f Folder) unpackChecked(ctx context.Context, folder string, backups []Backup,
	log *slog.Logger,
) (unpacked Folder, found *Checked, err error) {
	unpacked = Folder{
		Data: folder, Passphrase: f.Passphrase, Progress: f.Progress, Archive: f.Archive,
	}
	if err := f.unpack(ctx, folder, backups); err != nil {
		return unpacked, nil, err
	}
	if err := checkServerKey(folder, log); err != nil {
		return unpacked, nil, err
	}
	found, err = unpacked.Check(ctx, func(problem string) {
		log.Error("restored vault", slog.String("problem", problem))
	})
	return unpacked, found, err
}

// publish publishes the whole audit log of the vault into a folder that has none of it.
func (f Folder) publish(ctx context.Context, log *slog.Logger) error {
	return f.start(ctx, log, daemon.Options{Republish: true})
}

// start has a server open the folder, and closes it again.
func (f Folder) start(ctx context.Context, log *slog.Logger, opts daemon.Options) error {
	opts.Data, opts.Store, opts.Passphrase, opts.Log = f.Data, f.Store, f.Passphrase, log
	srv, err := daemon.Open(ctx, opts)
	if err != nil {
		return err
	}
	return srv.Close()
}

// checkServerKey makes sure that the server's key in a folder matches its certificate, because
// no client would trust another key.
func checkServerKey(folder string, log *slog.Logger) error {
	certFile, keyFile := datadir.At(folder).Server()
	if _, err := certs.NewReloader(certFile, keyFile, log); err != nil {
		return fmt.Errorf("%w: tls/server.key is not the key of tls/server.crt: %w",
			backup.ErrIncomplete, err)
	}
	return nil
}

// VerifyBackups unpacks a backup, or a chain, beside the last one, checks it as Restore does, and
// deletes the copy. A server has to open the copy, but does not publish the audit log again: that
// the journal has the signed root is what the check has computed, so that publishing would compute
// it once more, and write a gigabyte for each million entries only to delete it.
func VerifyBackups(ctx context.Context, files []string, passphrase func() ([]byte, error),
	progress func(done, total int64), log *slog.Logger,
) (*Checked, error) {
	backups, closeAll, err := OpenBackups(files)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	folder, err := besides(files[len(files)-1])
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	unpacked, found, err := Folder{Passphrase: passphrase, Progress: progress}.unpackChecked(ctx,
		folder, backups, log)
	if err != nil {
		return nil, err
	}
	return found, unpacked.start(ctx, log, daemon.Options{Republish: true, Unpublished: true})
}

// besides makes a folder beside a backup to check it in.
func besides(file string) (string, error) {
	return os.MkdirTemp(filepath.Dir(file), "."+filepath.Base(file)+"-checking-")
}

// OpenBackups opens the files of backups.
func OpenBackups(files []string) (backups []Backup, closeAll func(), err error) {
	var open []*os.File
	closeAll = func() {
		for _, f := range open {
			f.Close()
		}
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		open = append(open, f)
		backups = append(backups, Backup{Name: name, Content: f})
	}
	return backups, closeAll, nil
}
