// Package s3test runs object storage for tests: versitygw, which speaks the protocol of Amazon S3
// and keeps each object as a file, in a process of its own on loopback.
package s3test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"example.com/atm/internal/needs"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Bucket is the bucket that each Gateway has. Objects in it can be locked.
const Bucket = "archive"

// Objects is the folder of the buckets, in that of a Gateway.
const Objects = "objects"

// Credentials are the variables by which programs sign in to a Gateway. Start sets them for the
// test itself.
var Credentials = map[string]string{
	"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret", "AWS_REGION": "us-east-1",
	"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull,
	"AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
}

var setCredentials = sync.OnceValue(func() (err error) {
	for name, value := range Credentials {
		err = errors.Join(err, os.Setenv(name, value))
	}
	return err
})

// A Gateway is object storage.
type Gateway struct {
	Address string // host:port
	Dir     string // has the objects of Bucket as files

	process *exec.Cmd
	ended   chan struct{}
}

// startWithin bounds how long a gateway takes to start.
const startWithin = 30 * time.Second

// Start starts storage that ends with the test.
func Start(t testing.TB) *Gateway {
	t.Helper()
	return StartOn(t, t.TempDir())
}

// StartOn is Start with the objects in a folder, which may have those of storage that was stopped.
func StartOn(t testing.TB, dir string) *Gateway {
	t.Helper()
	if err := setCredentials(); err != nil {
		t.Fatal(err)
	}
	port, err := needs.Port()
	if err != nil {
		t.Fatal(err)
	}
	objects := filepath.Join(dir, Objects)
	err = errors.Join(os.MkdirAll(objects, 0o700),
		os.MkdirAll(filepath.Join(dir, "versions"), 0o700),
		os.MkdirAll(filepath.Join(dir, "attributes"), 0o700))
	if err != nil {
		t.Fatal(err)
	}
	g := &Gateway{
		Address: "127.0.0.1:" + port, Dir: filepath.Join(objects, Bucket),
		ended: make(chan struct{}),
	}
	var log bytes.Buffer // read once the process has ended
	g.process = exec.Command(needs.Installed(t, ".tools/gateway", "the gateway"), g.Address, dir)
	g.process.Stdout, g.process.Stderr = &log, &log
	if err := g.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		g.process.Wait()
		close(g.ended)
	}()
	t.Cleanup(g.Stop)
	if err := g.makeBucket(t.Context()); err != nil {
		g.Stop()
		t.Fatalf("%v: %s", err, log.Bytes())
	}
	return g
}

// Stop ends the storage.
func (g *Gateway) Stop() {
	g.process.Process.Kill()
	<-g.ended
}

// Location is the location of an archive below a prefix.
func (g *Gateway) Location(prefix string) string { return LocationAt(g.Address, prefix) }

// LocationAt is Location for storage that is reached through another address.
func LocationAt(address, prefix string) string {
	return fmt.Sprintf("s3://%s/%s?endpoint=http://%s&path-style=true", Bucket, prefix, address)
}

// makeBucket waits for the storage to start, and makes the bucket.
func (g *Gateway) makeBucket(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		conn, err := net.Dial("tcp", g.Address)
		if err == nil {
			conn.Close()
			break
		}
		select {
		case <-g.ended:
			return errors.New("the storage ended")
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
	client, err := g.Client(ctx)
	if err != nil {
		return err
	}
	var already *types.BucketAlreadyOwnedByYou
	_, err = client.CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket: aws.String(Bucket), ObjectLockEnabledForBucket: aws.Bool(true),
	})
	if errors.As(err, &already) {
		return nil
	}
	return err
}

// Client is a client of the storage itself.
func (g *Gateway) Client(ctx context.Context) (*s3.Client, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle, o.BaseEndpoint = true, aws.String("http://"+g.Address)
	}), err
}
