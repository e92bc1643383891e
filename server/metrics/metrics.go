// Package metrics counts what a server does, for Prometheus.
package metrics

import (
	"net/http"
	"sync"
	"time"

	"example.com/atm"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics counts what the server does. The values of its labels come from closed sets, so
// callers cannot create new series.
type Metrics struct {
	registry   *prometheus.Registry
	operations *prometheus.CounterVec
	durations  *prometheus.HistogramVec
	signIns    *prometheus.CounterVec
	commits    prometheus.Counter
	batch      prometheus.Histogram
	replays    prometheus.Counter
	outcomes   sync.Map // of counted, by outcome
	witnessed  prometheus.Gauge
	scrubbed   prometheus.Counter
	tries      *prometheus.CounterVec
	stops      *prometheus.CounterVec
}

// A Part is a component that operations need, and its error if it has one.
type Part struct {
	Name string // "vault", "audit", "disk"
	Err  error
}

// Gauges are read whenever metrics are collected. All are required.
type Gauges struct {
	Entries   func() float64  // entries of the audit log
	Published func() float64  // published entries
	DiskFree  func() float64  // bytes, on the disk of the data folder
	Expiry    func() []Expiry // of certificates
	Ready     func() []Part   // components that an operation needs

	Watched func() float64   // when somebody outside saw the audit log last, in seconds since 1970
	Feed    func() FeedState // what there is to deliver, by this server
	Archive func() ArchiveState

	// Synchronised is 1 if the machine's clock is synchronised, by NTP for example, 0 if it is not,
	// and NaN if the kernel does not report it.
	Synchronised func() float64
}

// A FeedState is what there is of the event feed; feed.Stats says more.
type FeedState struct {
	Active, Failing, Paused, Stopped int // subscriptions

	Lag    int64     // entries that the slowest active one has before it
	Oldest time.Time // of the events that wait to be sent to active ones; zero for none

	FailingLag    int64 // the same of those that fail
	FailingOldest time.Time
	FailingSince  time.Time // zero for none
}

// An ArchiveState is how far the log is archived, and what is kept here. It is zero without an
// archive, but for Base.
type ArchiveState struct {
	Entries int64         // in the newest chapter
	Chapter time.Time     // when that was taken; zero for none
	Every   time.Duration // between chapters
	Failing bool          // the last try to archive or to trim failed
	Base    int64         // index of the first entry that the vault has
}

// An Expiry is the end of a certificate.
type Expiry struct {
	Certificate string // "server", "root", "servers" or "clients"
	At          time.Time
}

var (
	readyDesc = prometheus.NewDesc("atm_ready", "Whether a part of the server is ready: 1 or 0.",
		[]string{"part"}, nil)
	expiryDesc = prometheus.NewDesc("atm_certificate_expiry_timestamp_seconds",
		"When a certificate ends.", []string{"certificate"}, nil)
	feedDesc = prometheus.NewDesc("atm_feed_subscriptions",
		"Subscriptions that this server delivers, each in one state: active, failing, paused or "+
			"stopped.", []string{"state"}, nil)
	lagDesc = prometheus.NewDesc("atm_feed_lag_entries",
		"Entries of the journal that the slowest subscription of a state has before it.",
		[]string{"state"}, nil)
	oldestDesc = prometheus.NewDesc("atm_feed_oldest_event_seconds",
		"Age of the oldest event that waits to be sent to a subscription of a state, 0 when none "+
			"waits.", []string{"state"}, nil)
	failingDesc = prometheus.NewDesc("atm_feed_failing_seconds",
		"How long nothing could be delivered to the subscription that fails for longest, 0 when "+
			"none fails.", nil, nil)
	archivedDesc = prometheus.NewDesc("atm_archive_entries",
		"Entries of the audit log in the newest chapter of the archive, 0 without one.", nil, nil)
	chapterDesc = prometheus.NewDesc("atm_archive_chapter_timestamp_seconds",
		"When the newest chapter of the archive was taken, 0 without one.", nil, nil)
	everyDesc = prometheus.NewDesc("atm_archive_interval_seconds",
		"Time between chapters of the archive, 0 without an archive.", nil, nil)
	archiveFailsDesc = prometheus.NewDesc("atm_archive_failing",
		"Whether the last try to archive the audit log, or to trim the journal, failed: 1 or 0.",
		nil, nil)
	baseDesc = prometheus.NewDesc("atm_journal_base",
		"Index of the first entry of the audit log that the vault still has.", nil, nil)
)

// Describe implements prometheus.Collector.
func (g Gauges) Describe(ch chan<- *prometheus.Desc) {
	ch <- readyDesc
	ch <- expiryDesc
	ch <- feedDesc
	ch <- lagDesc
	ch <- oldestDesc
	ch <- failingDesc
	ch <- archivedDesc
	ch <- chapterDesc
	ch <- everyDesc
	ch <- archiveFailsDesc
	ch <- baseDesc
}

// Collect implements prometheus.Collector.
func (g Gauges) Collect(ch chan<- prometheus.Metric) {
	for _, part := range g.Ready() {
		ready := 1.0
		if part.Err != nil {
			ready = 0
		}
		ch <- prometheus.MustNewConstMetric(readyDesc, prometheus.GaugeValue, ready, part.Name)
	}
	for _, e := range g.Expiry() {
		ch <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, float64(e.At.Unix()),
			e.Certificate)
	}
	send := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	g.collectFeed(send)
	g.collectArchive(send)
}

// A sender sends the value of a gauge.
type sender func(d *prometheus.Desc, value float64, labels ...string)

func (g Gauges) collectArchive(send sender) {
	archive := g.Archive()
	chapter, failing := 0.0, 0.0
	if !archive.Chapter.IsZero() {
		chapter = float64(archive.Chapter.Unix())
	}
	if archive.Failing {
		failing = 1
	}
	send(archivedDesc, float64(archive.Entries))
	send(chapterDesc, chapter)
	send(everyDesc, archive.Every.Seconds())
	send(archiveFailsDesc, failing)
	send(baseDesc, float64(archive.Base))
}

func (g Gauges) collectFeed(send sender) {
	feed := g.Feed()
	for state, n := range map[string]int{
		"active": feed.Active, "failing": feed.Failing, "paused": feed.Paused,
		"stopped": feed.Stopped,
	} {
		send(feedDesc, float64(n), state)
	}
	send(lagDesc, float64(feed.Lag), "active")
	send(lagDesc, float64(feed.FailingLag), "failing")
	send(oldestDesc, age(feed.Oldest), "active")
	send(oldestDesc, age(feed.FailingOldest), "failing")
	send(failingDesc, age(feed.FailingSince))
}

// age is how many seconds ago something was; 0 for what never was.
func age(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return max(0, time.Since(at).Seconds())
}

// New returns the metrics of a program of this version.
func New(version string, g Gauges) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atm_operations_total", Help: "Operations answered, by operation and code.",
		}, []string{"operation", "code"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "atm_operation_duration_seconds",
			Help:    "Time from the start of an operation until its answer was durable.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"operation"}),
		signIns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atm_sign_ins_total", Help: "Requests that presented credentials, by method " +
				"and outcome.",
		}, []string{"method", "outcome"}),
		commits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "atm_commits_total", Help: "Commits of the vault.",
		}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "atm_commit_operations", Help: "Operations that shared one commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 9),
		}),
	}
	m.replays = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "atm_replays_total", Help: "Requests that were answered with what their request id " +
			"was answered with before.",
	})
	m.witnessed = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "atm_audit_witnessed_entries", Help: "Entries in the audit log that enough " +
			"witnesses have cosigned.",
	})
	m.scrubbed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "atm_scrub_problems_total", Help: "Records that a running server found not to be " +
			"what the journal says.",
	})
	m.tries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "atm_feed_deliveries_total", Help: "Tries to deliver an event, by outcome: " +
			"delivered or failed.",
	}, []string{"outcome"})
	m.stops = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "atm_feed_stops_total", Help: "Subscriptions that the server stopped, by cause: " +
			"unreachable, gone, denied, restored or trimmed.",
	}, []string{"cause"})
	// What was never counted is 0, so that alerts see the first one.
	for _, outcome := range []string{"delivered", "failed"} {
		m.tries.WithLabelValues(outcome)
	}
	for _, cause := range []string{"unreachable", "gone", "denied", "restored", "trimmed"} {
		m.stops.WithLabelValues(cause)
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "atm_build_info", Help: "Always 1; the version is a label.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	m.registry.MustRegister(m.operations, m.durations, m.signIns, m.commits, m.batch, m.replays,
		m.witnessed, m.scrubbed, m.tries, m.stops, info, g,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "atm_audit_entries", Help: "Entries in the audit tree.",
		}, g.Entries),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "atm_audit_published_entries", Help: "Entries in the published audit log.",
		}, g.Published),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "atm_audit_watched_timestamp_seconds", Help: "When somebody outside saw the " +
				"audit log last: an auditor who read its checkpoint, or witnesses.",
		}, g.Watched),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "atm_disk_free_bytes", Help: "Free bytes on the disk of the data folder.",
		}, g.DiskFree),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "atm_clock_synchronised", Help: "Whether the machine's clock is synchronised: " +
				"1 or 0.",
		}, g.Synchronised),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Scrubbed counts records that differ from the journal.
func (m *Metrics) Scrubbed(problems int) { m.scrubbed.Add(float64(problems)) }

// Tried counts a try to deliver an event.
func (m *Metrics) Tried(delivered bool) {
	outcome := "failed"
	if delivered {
		outcome = "delivered"
	}
	m.tries.WithLabelValues(outcome).Inc()
}

// Stopped counts a subscription that the server stopped, for one of the causes of package feed.
func (m *Metrics) Stopped(cause string) { m.stops.WithLabelValues(cause).Inc() }

// Witnessed records the size of the log that enough witnesses have cosigned.
func (m *Metrics) Witnessed(size int64) { m.witnessed.Set(float64(size)) }

// Paid counts a due date of a standing order that has its outcome.
func (m *Metrics) Paid(code atm.Code) { m.Operation(atm.OrderPay, code, 0) }

// Committed counts a commit of so many operations, some of them replays.
func (m *Metrics) Committed(operations, replays int) {
	m.commits.Inc()
	m.replays.Add(float64(replays))
	m.batch.Observe(float64(operations))
}

// Operation counts an operation that was answered, and how long it took; 0 when that does not
// count.
func (m *Metrics) Operation(op atm.Operation, code atm.Code, elapsed time.Duration) {
	key := outcome{op, code}
	kept, has := m.outcomes.Load(key)
	if !has {
		kept, _ = m.outcomes.LoadOrStore(key, counted{
			m.operations.WithLabelValues(string(op), string(code)),
			m.durations.WithLabelValues(string(op)),
		})
	}
	c := kept.(counted)
	c.count.Inc()
	if elapsed > 0 {
		c.duration.Observe(elapsed.Seconds())
	}
}

// The counters of an outcome are cached, because looking them up takes longer than counting.
type (
	outcome struct {
		op   atm.Operation
		code atm.Code
	}
	counted struct {
		count    prometheus.Counter
		duration prometheus.Observer
	}
)

// SignIn counts a request that presented credentials.
func (m *Metrics) SignIn(method, outcome string) {
	m.signIns.WithLabelValues(method, outcome).Inc()
}
