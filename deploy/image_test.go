//go:build linux

package deploy_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/atm/internal/needs"
)

// nonroot is the user of the image.
const nonroot = 65532

// maxImage is how large the image may be, unpacked, in bytes.
const maxImage = 45e6

// A descriptor names a blob of an OCI image layout.
type descriptor struct {
	MediaType, Digest string
	Size              int64
}

// buildImage builds the image for this machine out of a copy of the sources, signed with key,
// and returns the folder with its files.
func buildImage(t *testing.T, key string) (dist string) {
	t.Helper()
	source := sources(t)
	cmd := exec.Command("deploy/image/build.sh", version, key)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "ARCHITECTURES="+runtime.GOARCH)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(source, "dist")
}

// TestImageIsReproducibleSmallAndNobodysButRoots builds the image twice, in different folders,
// and reads it as an engine does, each blob by its hash. Then a server out of it serves as the
// image's user.
func TestImageIsReproducibleSmallAndNobodysButRoots(t *testing.T) {
	if _, err := os.Stat("/etc/ssl/certs/ca-certificates.crt"); err != nil {
		needs.Skip(t, "ca-certificates is not installed")
	}
	key := filepath.Join(t.TempDir(), "key")
	run(t, ".", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key)
	dist, again := buildImage(t, key), buildImage(t, key)
	archive := fmt.Sprintf("atm-%s-image-%s.tar", version, runtime.GOARCH)
	for _, name := range []string{archive, "atm-" + version + "-image.cdx.json"} {
		one, err := os.ReadFile(filepath.Join(dist, name))
		if err != nil {
			t.Fatal(err)
		}
		two, err := os.ReadFile(filepath.Join(again, name))
		if err != nil || !bytes.Equal(one, two) {
			t.Errorf("%s is another one when it is built again: %v", name, err)
		}
	}
	checkSigned(t, dist, key)
	sbom, err := os.ReadFile(filepath.Join(dist, "atm-"+version+"-image.cdx.json"))
	if err != nil || !strings.Contains(string(sbom), "pkg:golang/go.etcd.io/bbolt@") {
		t.Errorf("the SBOM does not list bbolt: %v", err)
	}
	files := untar(t, filepath.Join(dist, archive))
	layer := readLayout(t, files)
	root := t.TempDir()
	unpackLayer(t, layer, root)
	t.Run("Serves", func(t *testing.T) { testImageServes(t, root) })
}

// checkSigned verifies the signature of the sums, and that a sum which was changed has none.
func checkSigned(t *testing.T, dist, key string) {
	t.Helper()
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	signers := filepath.Join(t.TempDir(), "signers")
	if err := os.WriteFile(signers, append([]byte("atm-release "), public...), 0o600); err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(dist, "image.SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		text []byte
		good bool
	}{{sums, true}, {append([]byte("0"), sums[1:]...), sums[0] == '0'}} {
		cmd := exec.Command(needs.Program(t, "ssh-keygen"), "-Y", "verify", "-f", signers, "-I",
			"atm-release", "-n", "atm-release", "-s",
			filepath.Join(dist, "image.SHA256SUMS.sig"))
		cmd.Stdin = bytes.NewReader(tt.text)
		if out, err := cmd.CombinedOutput(); (err == nil) != tt.good {
			t.Errorf("the signature is good: %v, want %v: %s", err == nil, tt.good, out)
		}
	}
	run(t, dist, "sha256sum", "-c", "--quiet", "image.SHA256SUMS")
}

// readLayout checks an OCI image layout, and returns the layer.
func readLayout(t *testing.T, files map[string][]byte) (layer []byte) {
	t.Helper()
	blob := func(d descriptor) []byte {
		t.Helper()
		data := files["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")]
		if got := fmt.Sprintf("sha256:%x", sha256.Sum256(data)); got != d.Digest ||
			int64(len(data)) != d.Size {
			t.Fatalf("%s has %d bytes of %s, not %d", d.Digest, len(data), got, d.Size)
		}
		return data
	}
	var index struct{ Manifests []descriptor }
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	var image struct {
		Architecture, OS string
		Config           struct {
			User, StopSignal string
			Entrypoint, Env  []string
			Volumes          map[string]struct{}
			Healthcheck      struct{ Test []string }
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := json.Unmarshal(files["index.json"], &index); err != nil || len(index.Manifests) != 1 {
		t.Fatalf("index.json: %v", err)
	}
	if err := json.Unmarshal(blob(index.Manifests[0]), &manifest); err != nil ||
		len(manifest.Layers) != 1 {
		t.Fatalf("manifest: %v", err)
	}
	if err := json.Unmarshal(blob(manifest.Config), &image); err != nil {
		t.Fatal(err)
	}
	c := image.Config
	if c.User != fmt.Sprintf("%d:%[1]d", nonroot) || len(c.Volumes) != 1 ||
		!slices.Equal(c.Entrypoint, []string{"/usr/bin/atmserver"}) ||
		!slices.Equal(c.Healthcheck.Test, []string{"CMD", "/usr/bin/atmctl", "ready"}) ||
		image.Architecture != runtime.GOARCH || image.OS != "linux" {
		t.Errorf("it is configured as %+v", image)
	}
	if _, is := c.Volumes["/data"]; !is {
		t.Errorf("its volume is not /data: %v", c.Volumes)
	}
	zipped, err := gzip.NewReader(bytes.NewReader(blob(manifest.Layers[0])))
	if err != nil {
		t.Fatal(err)
	}
	if layer, err = io.ReadAll(zipped); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("sha256:%x", sha256.Sum256(layer)); len(image.RootFS.DiffIDs) != 1 ||
		got != image.RootFS.DiffIDs[0] {
		t.Errorf("the layer is %s, not %v", got, image.RootFS.DiffIDs)
	}
	if len(layer) > maxImage {
		t.Errorf("the image has %d bytes, more than %d", len(layer), int64(maxImage))
	}
	return layer
}

// unpackLayer unpacks the layer into root, and checks whose each file is: the user of the image
// can change nothing but /data.
func unpackLayer(t *testing.T, layer []byte, root string) {
	t.Helper()
	var names []string
	in := tar.NewReader(bytes.NewReader(layer))
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		name := path.Clean("/" + h.Name)
		names = append(names, name)
		owner := 0
		if name == "/data" {
			owner = nonroot
		}
		if h.Uid != owner || h.Gid != owner || h.Typeflag != tar.TypeSymlink && h.Mode&0o7022 != 0 {
			t.Errorf("%s is of %d:%d, with mode %o", name, h.Uid, h.Gid, h.Mode)
		}
		to := filepath.Join(root, filepath.FromSlash(name))
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(to, 0o755)
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, to)
		default:
			data, read := io.ReadAll(in)
			err = errors.Join(read, os.WriteFile(to, data, h.FileInfo().Mode()))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(names)
	if want := []string{
		"/", "/data", "/etc", "/etc/group", "/etc/hosts", "/etc/nsswitch.conf", "/etc/passwd",
		"/etc/ssl", "/etc/ssl/certs", "/etc/ssl/certs/ca-certificates.crt", "/usr", "/usr/LICENSE",
		"/usr/bin", "/usr/bin/atmctl", "/usr/bin/atmserver",
	}; !slices.Equal(names, want) {
		t.Errorf("the image has %q", names)
	}
	program, err := elf.Open(filepath.Join(root, "usr/bin/atmserver"))
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	if slices.ContainsFunc(program.Progs, func(p *elf.Prog) bool {
		return p.Type == elf.PT_INTERP
	}) {
		t.Error("the program needs a dynamic loader")
	}
}

// testImageServes runs the server out of the image, with its files as the root and as its user,
// and asks it by its own probe.
func testImageServes(t *testing.T, root string) {
	needs.Root(t)
	if err := errors.Join(os.Chown(filepath.Join(root, "data"), nonroot, nonroot),
		os.Chmod(filepath.Join(root, "data"), 0o700)); err != nil {
		t.Fatal(err)
	}
	port, errPort := needs.Port()
	admin, errAdmin := needs.Port()
	if err := errors.Join(errPort, errAdmin); err != nil {
		t.Fatal(err)
	}
	inside := func(program string, args ...string) *exec.Cmd {
		return &exec.Cmd{
			Path: program, Args: append([]string{filepath.Base(program)}, args...), Dir: "/data",
			Env: []string{"ATM_DATA=/data/atm-data", "TMPDIR=/data", "HOME=/data"},
			SysProcAttr: &syscall.SysProcAttr{
				Chroot: root, Credential: &syscall.Credential{Uid: nonroot, Gid: nonroot},
			},
		}
	}
	server := inside("/usr/bin/atmserver", "--listen", "localhost:"+port, "--admin-listen",
		"localhost:"+admin)
	var log bytes.Buffer
	server.Stderr = &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Signal(os.Interrupt)
		if err := server.Wait(); err != nil || t.Failed() {
			t.Errorf("the server ended with %v\n%s", err, log.String())
		}
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		out, err := inside("/usr/bin/atmctl", "ready", "--url",
			"http://localhost:"+admin+"/readyz").CombinedOutput()
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the server is not ready: %v %s", err, out)
		}
	}
	status, err := inside("/usr/bin/atmctl", "status", "--server",
		"https://localhost:"+port).CombinedOutput()
	if err != nil || !strings.Contains(string(status), version) {
		t.Errorf("%v: %s", err, status)
	}
}
