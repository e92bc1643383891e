// Gateway is object storage for tests. It serves versitygw as a library, because the program of
// that name takes three times as long to compile, with tests and storage that are not used here.
//
//	gateway ADDRESS FOLDER
//
// FOLDER/objects has each object as a file, FOLDER/versions the earlier ones, and
// FOLDER/attributes their metadata. The credentials are those in the environment.
package main

import (
	"context"
	"log"
	"os"
	"path/filepath"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: gateway ADDRESS FOLDER")
	}
	log.Fatal(serve(os.Args[1], os.Args[2]))
}

// serve serves on an address until it fails.
func serve(address, folder string) error {
	attributes := filepath.Join(folder, "attributes")
	sidecar, err := meta.NewSideCar(attributes)
	if err != nil {
		return err
	}
	settings := posix.PosixOpts{
		SideCarDir: attributes, VersioningDir: filepath.Join(folder, "versions"),
		Concurrency: connections, CopyObjectThreshold: 5 << 30,
	}
	settings.SetNewDirPerm(0o700)
	settings.SetNewFilePerm(0o600)
	files, err := posix.New(filepath.Join(folder, "objects"), sidecar, settings)
	if err != nil {
		return err
	}
	return embedgw.RunVersityGW(context.Background(), files, &embedgw.Config{
		RootUserAccess: os.Getenv("AWS_ACCESS_KEY_ID"),
		RootUserSecret: os.Getenv("AWS_SECRET_ACCESS_KEY"),
		Ports:          []string{address}, Region: os.Getenv("AWS_REGION"), Quiet: true,
		MaxConnections: connections, MaxRequests: connections, MultipartMaxParts: 10_000,
	})
}

// connections bounds how many requests are served at a time.
const connections = 5000
