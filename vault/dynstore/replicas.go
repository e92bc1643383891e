package dynstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"example.com/atm/vault/dynstore/chain"
	"example.com/atm/vault/dynstore/table"
	"example.com/atm/vault/replicated"
)

// replicas are the servers on one table, as one of them sees them, or a program that works on the
// table without being one.
//
// A replica has a lease, the item that says that it runs. What needs all replicas stopped refuses
// while one is fresh, and begins another epoch of the head: a replica that was thought dead finds
// that out before its next commit, and commits no more.
type replicas struct {
	table *table.Table
	chain *chain.Chain
	name  string // of this replica, for people; empty for none
	lease string // of this replica; empty for none

	stop  func() // stops renewing; nil without a lease
	swept map[string]time.Time
}

const (
	inReplicas = "replica"
	inWork     = "work"

	// leaseFor is how long a replica counts as running after it renewed its lease.
	leaseFor = 10 * time.Second

	// renewEvery is how often a replica renews its lease.
	renewEvery = time.Second

	// leaveWithin bounds how long a stop takes to delete the lease.
	leaveWithin = 2 * time.Second

	maxListed = 100 // replicas
)

func (r *replicas) key() table.Key { return table.Key{PK: inReplicas, SK: r.lease} }

func (r *replicas) item() table.Item {
	return table.Item{
		Key: r.key(), Data: []byte(r.name), Until: time.Now().Add(leaseFor).UnixMicro(),
	}
}

// join takes a lease. It waits for what needs all replicas stopped.
func (r *replicas) join(ctx context.Context) error {
	var id [16]byte
	rand.Read(id[:]) // never fails
	r.lease = hex.EncodeToString(id[:])
	err := r.chain.Change(ctx, func(now *chain.State, _ *chain.Head) ([]chain.Write, error) {
		if now.Unfinished != "" {
			return nil, fmt.Errorf("%w: %s was interrupted; run it again", errUnfinished,
				now.Unfinished)
		}
		return []chain.Write{{Write: table.Write{Item: r.item()}}}, nil
	})
	if err != nil {
		r.lease = ""
		return err
	}
	renewing, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); r.renew(renewing) }()
	r.stop = func() { stop(); <-ended }
	return nil
}

// errUnfinished reports books that are not whole.
var errUnfinished = errors.New("the books in the table are not whole")

// leave gives the lease up.
func (r *replicas) leave() {
	if r.stop == nil {
		return
	}
	r.stop()
	r.stop = nil
	ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
	defer cancel()
	gone := table.Write{Item: table.Item{Key: r.key()}, Remove: true}
	if err := r.table.Patiently(ctx, gone); err != nil {
		r.table.Log.Warn("the table could not be told that this replica stops; it counts as "+
			"running for a moment", slog.Any("error", err))
	}
}

// renew renews the lease until ctx is done.
func (r *replicas) renew(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		err := r.table.Do(ctx, table.Write{Item: r.item(), If: table.There})
		if errors.Is(err, table.ErrCondition) && ctx.Err() == nil {
			r.chain.Fence()
			return
		}
	}
}

// others returns the items of the other replicas.
func (r *replicas) others(ctx context.Context) (list []*table.Item, err error) {
	err = r.table.Each(ctx, inReplicas, table.Range{}, func(i *table.Item) error {
		if i.SK != r.lease {
			list = append(list, i)
		}
		return nil
	})
	return list, err
}

// Running implements replicated.Replicas.
func (r *replicas) Running(ctx context.Context) ([]string, error) {
	return r.running(ctx, "")
}

// running returns the names of the replicas that run, but for one.
func (r *replicas) running(ctx context.Context, but string) (names []string, err error) {
	now := time.Now().UnixMicro()
	err = r.table.Each(ctx, inReplicas, table.Range{}, func(i *table.Item) error {
		if i.Until > now && i.SK != but {
			names = append(names, string(i.Data))
		}
		return nil
	})
	slices.Sort(names)
	return names[:min(len(names), maxListed)], err
}

// Alone implements replicated.Replicas.
func (r *replicas) Alone(ctx context.Context) error {
	return r.exclude(ctx, func() error { return nil })
}

// exclude runs work while no other replica runs, and nothing else may change anything. Replicas
// that have been silent for too long commit nothing after it.
func (r *replicas) exclude(ctx context.Context, work func() error) error {
	return r.chain.Exclude(ctx, func() ([]chain.Write, error) {
		running, err := r.running(ctx, r.lease)
		if err != nil {
			return nil, err
		}
		if len(running) > 0 {
			return nil, fmt.Errorf("%w: %s; stop them first (one that was killed counts for "+
				"%.0f s more)", replicated.ErrRunning, strings.Join(running, ", "),
				leaseFor.Seconds())
		}
		silent, err := r.others(ctx)
		writes := make([]chain.Write, len(silent))
		for i, item := range silent {
			writes[i].Write = table.Write{Item: *item, Remove: true}
		}
		return writes, err
	}, work)
}

// Lease implements replicated.Replicas.
func (r *replicas) Lease(ctx context.Context, work string, life time.Duration) (has bool,
	err error,
) {
	key := table.Key{PK: inWork, SK: textSK([]byte(work))}
	err = table.Patiently(ctx, func() error {
		has = false
		item, err := r.table.Get(ctx, key)
		if err != nil {
			return err
		}
		before := uint64(0)
		now := time.Now()
		if item != nil {
			before = item.Version
			if item.Holder != r.lease && item.Until > now.UnixMicro() {
				holder, err := r.table.Get(ctx, table.Key{PK: inReplicas, SK: item.Holder})
				if err != nil || holder != nil {
					return err
				}
			}
		}
		err = r.table.Do(ctx, table.Write{
			If: table.Same(before),
			Item: table.Item{
				Key: key, Version: before + 1, Data: []byte(r.name), Holder: r.lease,
				Until: now.Add(life).UnixMicro(),
			},
		})
		if errors.Is(err, table.ErrCondition) {
			return nil // another one was first
		}
		has = err == nil
		return err
	})
	return has, err
}

// Spend implements replicated.Replicas.
func (r *replicas) Spend(ctx context.Context, nonce string, count uint64, until time.Time) (
	first bool, err error,
) {
	var use [16]byte // recognizes this use when the answer to an earlier try was lost
	rand.Read(use[:])
	item := table.Item{
		Key:  table.Key{PK: "nonce#" + textSK([]byte(nonce)), SK: fmt.Sprint(count)},
		Data: use[:], Holder: hex.EncodeToString(use[:]), Version: 1,
		Expires: until.Add(nonceKept).Unix(),
	}
	err = table.Patiently(ctx, func() error {
		return r.table.Do(ctx, table.Write{Item: item, If: table.AbsentOr(item.Holder)})
	})
	if errors.Is(err, table.ErrCondition) {
		return false, nil
	}
	return err == nil, err
}

// nonceKept is how long the use of a nonce is kept after the nonce is stale, whatever the clocks
// of machines differ by.
const nonceKept = time.Hour

// Failures are counted in windows of time: an item for each replica and source, in the window in
// which the count changed last. Only the last two are read.

const (
	inFailures     = "failure#"
	failureWindow  = 10 * time.Second
	failuresKept   = 10 * time.Minute
	maxFailures    = 10_000 // that are read at once
	windowsThatAre = 2
)

func failurePK(window int64) string { return inFailures + fmt.Sprint(window) }

// ShareFailures implements replicated.Replicas.
func (r *replicas) ShareFailures(ctx context.Context, replica []byte, counts map[string]int64,
	seen map[string]int64,
) (grown map[string]int64, err error) {
	now := time.Now()
	window := now.UnixNano() / int64(failureWindow)
	mine := hex.EncodeToString(replica)
	var writes []table.Write
	for source, n := range counts {
		writes = append(writes, table.Write{Item: table.Item{
			Key: table.Key{
				PK: failurePK(window),
				SK: mine + "/" + base64.RawURLEncoding.EncodeToString([]byte(source)),
			},
			Version: uint64(n), Expires: now.Add(failuresKept).Unix(),
		}})
	}
	if err := r.table.DoAll(ctx, writes); err != nil {
		return nil, err
	}
	newest := make(map[string]int64)
	for i := range int64(windowsThatAre) {
		err := r.table.Each(ctx, failurePK(window-i), table.Range{Limit: maxFailures},
			func(i *table.Item) error {
				if other, _, _ := strings.Cut(i.SK, "/"); other != mine {
					newest[i.SK] = max(newest[i.SK], int64(i.Version))
				}
				return nil
			})
		if err != nil {
			return nil, err
		}
	}
	grown = make(map[string]int64)
	for key, n := range newest {
		_, text, _ := strings.Cut(key, "/")
		source, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			continue
		}
		grown[string(source)] += n - seen[key]
		seen[key] = n
	}
	return grown, nil
}

// Tidy implements replicated.Replicas. What expires the table removes by itself.
func (r *replicas) Tidy(ctx context.Context) error {
	return table.Patiently(ctx, func() error { return r.chain.Sweep(ctx, r.swept) })
}

// tellWithin bounds how long a replica that ends tries to tell the others of a rollback.
const tellWithin = 2 * time.Second

// TellRollback implements replicated.Replicas. The head is changed whatever it is.
func (r *replicas) TellRollback(ctx context.Context, size int64) {
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	err := r.chain.Tell(ctx, replicated.Rollback{Replica: r.name, Size: size})
	if err != nil {
		r.table.Log.Error("the other replicas could not be told that the table went back; "+
			"stop them", slog.Any("error", err))
	}
}

// Rollbacks implements replicated.Replicas.
func (r *replicas) Rollbacks(ctx context.Context) ([]replicated.Rollback, error) {
	now, err := r.chain.Peek(ctx)
	if err != nil {
		return nil, err
	}
	told := now.Told
	slices.SortFunc(told, func(a, b replicated.Rollback) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Replica, b.Replica))
	})
	return told[:min(len(told), maxListed)], nil
}

// installation is what the table has of the installation.
type installation struct {
	replicated.Installation
	Schema int
	Mark   []byte // names the secret
}

func readInstallation(ctx context.Context, t *table.Table) (found *installation, err error) {
	err = table.Patiently(ctx, func() error {
		item, err := t.Get(ctx, installationKey)
		switch {
		case errors.Is(err, table.ErrNoTable) || err == nil && item == nil:
			return replicated.ErrNoBooks
		case err != nil:
			return err
		}
		found = new(installation)
		return json.Unmarshal(item.Data, found)
	})
	return found, err
}

func (i *installation) item() (table.Item, error) {
	data, err := json.Marshal(i)
	return table.Item{Key: installationKey, Data: data}, err
}
