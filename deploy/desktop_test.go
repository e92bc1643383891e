package deploy_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"debug/macho"
	"debug/pe"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// testDesktops reads the archives with the command lines for the systems of desktops.
func testDesktops(t *testing.T, dist, desktops string) {
	revision := strings.TrimSpace(run(t, filepath.Dir(dist), "git", "rev-parse", "HEAD"))
	for _, tt := range []struct {
		name, packed, suffix, goos, goarch string
		unpack                             func(t *testing.T, file string) map[string][]byte
		check                              func(program []byte) error
	}{
		{
			"atm-" + version + "-windows-amd64", ".zip", ".exe", "windows", "amd64", unzipped,
			isWindows,
		},
		{
			"atm-" + version + "-macos-arm64", ".tar.gz", "", "darwin", "arm64", untar,
			isMac,
		},
	} {
		if !strings.Contains(desktops, tt.goos+"/"+tt.goarch) {
			continue
		}
		files := tt.unpack(t, filepath.Join(dist, tt.name+tt.packed))
		for _, file := range []string{
			"LICENSE", "doc/README.md", "doc/docs/reference/atmctl.md", "doc/licenses/go/LICENSE",
			"completion/bash/atmctl", "completion/zsh/_atmclient",
		} {
			if len(files[tt.name+"/"+file]) == 0 {
				t.Errorf("%s has no %s", tt.name, file)
			}
		}
		for _, program := range []string{"atmclient", "atmctl"} {
			text := files[tt.name+"/bin/"+program+tt.suffix]
			if err := tt.check(text); err != nil {
				t.Errorf("%s of %s: %v", program, tt.name, err)
				continue
			}
			if !bytes.Contains(text, []byte(version)) || !bytes.Contains(text, []byte(revision)) {
				t.Errorf("%s of %s does not say %s, %s", program, tt.name, version, revision)
			}
			info, err := buildinfo.Read(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			settings := make(map[string]string)
			for _, s := range info.Settings {
				settings[s.Key] = s.Value
			}
			if settings["GOOS"] != tt.goos || settings["GOARCH"] != tt.goarch ||
				settings["CGO_ENABLED"] != "0" || settings["-trimpath"] != "true" {
				t.Errorf("%s of %s was built with %v", program, tt.name, settings)
			}
		}
		sbom, err := os.ReadFile(filepath.Join(dist, tt.name+".cdx.json"))
		if err != nil || !bytes.Contains(sbom, []byte(`"github.com/spf13/cobra"`)) {
			t.Errorf("the SBOM of %s does not list what is linked: %v", tt.name, err)
		}
	}
}

// testSignedSums has OpenSSH and sha256sum verify a release, as docs/operations.md says.
func testSignedSums(t *testing.T, dist, signer string) {
	signers := filepath.Join(t.TempDir(), "signers")
	if err := os.WriteFile(signers, []byte("atm-release "+signer+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, dist, "sh", "-c", `ssh-keygen -Y verify -f "$1" -I atm-release -n atm-release `+
		`-s SHA256SUMS.sig <SHA256SUMS`, "sh", signers)
	verified := run(t, dist, "sha256sum", "-c", "SHA256SUMS")
	files, err := os.ReadDir(dist)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := file.Name()
		if !strings.HasPrefix(name, "SHA256SUMS") && !strings.Contains(verified, name+": OK\n") {
			t.Errorf("SHA256SUMS does not have %s", name)
		}
	}
}

func isWindows(program []byte) error {
	f, err := pe.NewFile(bytes.NewReader(program))
	if err == nil && f.Machine != pe.IMAGE_FILE_MACHINE_AMD64 {
		err = errors.New("it is for another machine")
	}
	return err
}

func isMac(program []byte) error {
	f, err := macho.NewFile(bytes.NewReader(program))
	if err == nil && (f.Cpu != macho.CpuArm64 || f.Type != macho.TypeExec) {
		err = errors.New("it is for another machine, or no program")
	}
	return err
}

func unzipped(t *testing.T, file string) map[string][]byte {
	t.Helper()
	archive, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	files := make(map[string][]byte)
	for _, f := range archive.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if files[f.Name], err = io.ReadAll(r); err != nil { // it verifies the checksum
			t.Fatal(err)
		}
		r.Close()
	}
	return files
}

// untar reads the files of a tar, which may be compressed. Its programs may be run.
func untar(t *testing.T, file string) map[string][]byte {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var plain io.Reader = f
	if strings.HasSuffix(file, ".gz") {
		if plain, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	files := make(map[string][]byte)
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[path.Clean(h.Name)], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(h.Name, "/bin/atm") && h.Mode&0o111 != 0o111 {
			t.Errorf("%s may not be run", h.Name)
		}
	}
}
