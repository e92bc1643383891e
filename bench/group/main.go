// Group commits the records of deposits to bbolt, without a network, a ledger or a
// log: callers wait for a committer, which takes all that wait in one transaction.
// It is what a server on bbolt could do if everything else were free.
package main

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "group:", err)
		os.Exit(1)
	}
}

// Sizes of the values of a deposit, in bytes, as the server stores them: its
// account, the entry of its journal, the place of its answer, and with each
// commit the head of the tree and its signature.
const (
	accountBytes = 110
	entryBytes   = 780
	placeBytes   = 52
	headBytes    = 520
	noteBytes    = 280
)

var buckets = [][]byte{[]byte("accounts"), []byte("journal"), []byte("requests"), []byte("meta")}

func run(args []string) error {
	flags := flag.NewFlagSet("group", flag.ContinueOnError)
	dir := flags.String("dir", "", "`folder` for the file; a temporary one beside the working "+
		"folder without it")
	clients := flags.Int("clients", 64, "`number` of callers")
	accounts := flags.Uint64("accounts", 100, "`number` of accounts")
	measured := flags.Duration("for", 3*time.Second, "how long")
	if err := flags.Parse(args); err != nil {
		return err
	}
	folder, err := os.MkdirTemp(*dir, "group-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	db, err := bolt.Open(filepath.Join(folder, "group.db"), 0o600,
		&bolt.Options{NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	defer db.Close()
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	waiting := make(chan chan error, 1024)
	go commitLoop(db, waiting, *accounts)

	var done atomic.Bool
	took := make([][]time.Duration, *clients)
	errs := make([]error, *clients)
	var wg sync.WaitGroup
	begun := time.Now()
	for i := range took {
		wg.Go(func() {
			reply := make(chan error, 1)
			for !done.Load() && errs[i] == nil {
				from := time.Now()
				waiting <- reply
				errs[i] = <-reply
				took[i] = append(took[i], time.Since(from))
			}
		})
	}
	time.Sleep(*measured)
	done.Store(true)
	wg.Wait()
	elapsed := time.Since(begun)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"op": "group", "clients": *clients, "seconds": elapsed.Seconds(), "calls": len(all),
		"rate": float64(len(all)) / elapsed.Seconds(),
		"p50":  float64(all[len(all)/2].Nanoseconds()) / 1e3,
	})
}

const maxBatch = 256

func commitLoop(db *bolt.DB, waiting <-chan chan error, accounts uint64) {
	var index uint64
	noise := make([]byte, 4096)
	rand.Read(noise)
	for first := range waiting {
		batch := []chan error{first}
		for more := true; more && len(batch) < maxBatch; {
			select {
			case reply := <-waiting:
				batch = append(batch, reply)
			default:
				more = false
			}
		}
		err := db.Update(func(tx *bolt.Tx) error {
			journal := tx.Bucket(buckets[1])
			journal.FillPercent = 1
			for range batch {
				index++
				key := binary.BigEndian.AppendUint64(nil, index)
				account := binary.BigEndian.AppendUint64(nil, index*0x9e3779b97f4a7c15%accounts)
				request := append(binary.BigEndian.AppendUint64(nil,
					uint64(time.Now().UnixMilli())), key...)
				err := errors.Join(
					tx.Bucket(buckets[0]).Put(account, noise[:accountBytes]),
					journal.Put(key, noise[:entryBytes]),
					tx.Bucket(buckets[2]).Put(request, noise[:placeBytes]),
				)
				if err != nil {
					return err
				}
			}
			return errors.Join(tx.Bucket(buckets[3]).Put([]byte("head"), noise[:headBytes]),
				tx.Bucket(buckets[3]).Put([]byte("note"), noise[:noteBytes]))
		})
		for _, reply := range batch {
			reply <- err
		}
	}
}
