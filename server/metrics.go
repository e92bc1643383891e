package server

import (
	"time"

	"example.com/atm"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics counts what the server does. Its labels come from closed sets: a
// caller cannot make new ones.
type Metrics struct {
	registry   *prometheus.Registry
	operations *prometheus.CounterVec
	durations  *prometheus.HistogramVec
	signIns    *prometheus.CounterVec
	commits    prometheus.Counter
	batch      prometheus.Histogram
	witnessed  prometheus.Gauge
}

// NewMetrics returns metrics of a program of this version. size and published
// are the entries in the audit tree and in its published files.
func NewMetrics(version string, size, published func() float64) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atm_operations_total", Help: "Operations answered, by operation and code.",
		}, []string{"operation", "code"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "atm_operation_duration_seconds", Help: "Time from the start of an operation until its answer was durable.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"operation"}),
		signIns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atm_sign_ins_total", Help: "Requests that presented credentials, by method and outcome.",
		}, []string{"method", "outcome"}),
		commits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "atm_commits_total", Help: "Commits of the vault.",
		}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "atm_commit_operations", Help: "Operations that shared one commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 9),
		}),
	}
	m.witnessed = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "atm_audit_witnessed_entries", Help: "Entries in the audit log that enough witnesses have cosigned.",
	})
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "atm_build_info", Help: "Always 1; the version is a label.", ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	m.registry.MustRegister(m.operations, m.durations, m.signIns, m.commits, m.batch, m.witnessed, info,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "atm_audit_entries", Help: "Entries in the audit tree.",
		}, size),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "atm_audit_published_entries", Help: "Entries in the published audit log.",
		}, published),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Witnessed notes how large the log was that enough witnesses cosigned.
func (m *Metrics) Witnessed(size int64) { m.witnessed.Set(float64(size)) }

// Committed counts a commit of so many operations.
func (m *Metrics) Committed(operations int) {
	m.commits.Inc()
	m.batch.Observe(float64(operations))
}

func (m *Metrics) operation(op atm.Operation, code atm.Code, elapsed time.Duration) {
	m.operations.WithLabelValues(string(op), string(code)).Inc()
	if elapsed > 0 {
		m.durations.WithLabelValues(string(op)).Observe(elapsed.Seconds())
	}
}

func (m *Metrics) signIn(method, outcome string) {
	m.signIns.WithLabelValues(method, outcome).Inc()
}
