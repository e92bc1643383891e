package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"example.com/atm/audit"
	"example.com/atm/audit/archive"
)

// archive looks at the archive that the last start of the server noted, and at what is no longer
// here because it is there. It asks no object storage.
func (e *exam) archive(ctx context.Context) {
	base, err := archive.ReadPruned(ctx, audit.Dir(e.dir.Audit()))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.tell(Warning, e.start(), "audit/pruned: %v; the next start writes it again", err)
	}
	snapshots, _ := filepath.Glob(filepath.Join(escaped(e.dir.Snapshots()), "*.db"))
	noted, err := e.dir.Archived().Read()
	switch {
	case err != nil:
		e.tell(Warning, e.start()+" --archive LOCATION", "%v; the next start writes it again", err)
	case noted == nil && base > 0:
		e.tell(Warning, e.start()+" --archive LOCATION",
			"the first %d entries of the log are not here, and no archive is noted that has them",
			base)
	case noted == nil:
		e.tell(OK, "", "there is none; every entry of the log is here")
	case base > 0 && len(snapshots) == 0:
		e.tell(Warning, e.start()+" --archive "+quoted(noted.Location),
			"snapshots/ has no snapshot for the journal to begin with; the next start fetches it")
		e.location(ctx, noted.Location)
	default:
		e.location(ctx, noted.Location)
	}
}

// location looks at the archive at a location.
func (e *exam) location(ctx context.Context, at string) {
	if strings.Contains(at, "://") {
		e.tell(Note, "atmctl audit verify "+quoted(at), "%s is not asked", at)
		return
	}
	info, err := os.Stat(at)
	if err == nil && !info.IsDir() {
		err = errors.New("is no folder")
	}
	if err != nil {
		e.tell(Warning, "ls -ld "+quoted(at), "%s cannot be used: %v; nothing is archived, and "+
			"nothing removed here; mount it, or make the folder", at, err).Alert = "AtmArchiveFails"
		return
	}
	e.folderOf(at, info)
	newest, err := archive.New(archive.NewFolder(at)).Newest(ctx)
	switch {
	case errors.Is(err, archive.ErrEmpty):
		e.tell(Note, e.start()+" --archive "+quoted(at), "%s has no complete chapter yet", at)
	case err != nil:
		e.tell(Warning, "atmctl audit verify "+quoted(at), "%v", err)
	case newest.Origin != e.dir.Config.Origin:
		e.tell(Critical, e.start()+" --archive ANOTHER",
			"%s is the archive of %s, not of this server", at, newest.Origin)
	default:
		e.tell(OK, "", "%s has %d entries in its newest chapter", at, newest.Size)
	}
}

// folderOf looks at whose the folder of an archive is, and which disk it is on.
func (e *exam) folderOf(at string, info fs.FileInfo) {
	data, err := os.Stat(e.dir.Root)
	if err != nil {
		return // reported by the check of owners
	}
	owner, known := ownerOf(data)
	if whose, _ := ownerOf(info); known && whose != owner && info.Mode().Perm()&0o022 == 0 {
		e.tell(Warning, "chown -R --reference="+quoted(e.dir.Root)+" "+quoted(at),
			"%s does not belong to the user that the data folder belongs to, who cannot write to "+
				"it", at).Alert = "AtmArchiveFails"
	}
	if info.Mode().Perm()&0o200 == 0 {
		e.tell(Warning, "chmod 700 "+quoted(at), "nobody may write to %s (mode %04o)", at,
			info.Mode().Perm()).Alert = "AtmArchiveFails"
	}
	if sameDisk(data, info) {
		e.tell(Warning, e.start()+" --archive ELSEWHERE",
			"%s is on the disk of the data folder: it frees nothing there, and is lost with it", at)
	}
}
