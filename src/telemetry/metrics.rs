//! The metrics, under the names that operators see.
//!
//! Owns: names, help, units and labels of metrics, and their text format. Must not know: the origin of numbers. No
//! label contains the name of a job, run, tag or message; the values of each label come from a short list.

use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};

/// Upper bounds of the duration of a pass in seconds: from an idle pass to one that the watchdog would end.
const TURNS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 5.0, 15.0, 60.0];

/// The state of a probed job.
pub const PROBED: [&str; 4] = ["open", "healthy", "inconclusive", "told"];

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    /// Bytes read from event files.
    pub read_bytes: IntCounter,
    /// Events read.
    pub read_events: IntCounter,
    /// Followed event files, by state: read, unfinished, damaged, unreadable.
    pub files: IntGaugeVec,
    /// Skipped records of followed files.
    pub bad_records: IntGauge,
    /// Bytes of followed files not yet read or not yet complete.
    pub lag_bytes: IntGauge,
    /// Followed runs.
    pub runs: IntGauge,
    /// Runs skipped because they are old or ended.
    pub old_runs: IntGauge,
    /// Followed jobs.
    pub jobs: IntGauge,
    /// Jobs that showed a symptom at their latest examination, by symptom.
    pub jobs_with_symptom: IntGaugeVec,
    /// Open cases, by policy.
    pub cases_open: IntGaugeVec,
    /// Closed cases in the database, by policy and verdict.
    pub cases_closed: IntGaugeVec,
    /// Probed jobs in the database, by state: open, healthy, inconclusive, told.
    pub probed_jobs: IntGaugeVec,
    /// Probes in the database, by outcome.
    pub probes: IntGaugeVec,
    /// Total run time of these probes in seconds.
    pub probe_seconds: Gauge,
    /// Total run time of the probed jobs in seconds.
    pub probed_seconds: Gauge,
    /// Duration of a pass of the main loop, in seconds.
    pub turns: Histogram,
    /// Time of the latest pass, in seconds since the Unix epoch.
    pub last_turn: Gauge,
    /// Deliveries in the database, by destination and state.
    pub deliveries: IntGaugeVec,
    /// Delayed messages, by destination.
    pub held_back: IntGaugeVec,
    /// Age of the oldest message that is still to be sent, in seconds; 0 if there is none.
    pub oldest_pending: Gauge,
    /// Delivery attempts, by destination and resulting state.
    pub attempts: IntCounterVec,
    /// Whether this daemon owns the cases.
    pub owner: IntGauge,
    /// The number of the ownership.
    pub term: IntGauge,
    /// Whether the newest configuration is in force.
    pub reload_successful: IntGauge,
    /// Time of the latest successful reload, in seconds since the Unix epoch.
    pub reload_time: Gauge,
    /// Status reports of jobs, by state.
    pub fates: IntCounterVec,
    /// Database errors.
    pub store_errors: IntCounter,
    /// Bytes of other machines that could not be stored, in requests.
    pub forward_errors: IntCounter,
    registry: Registry,
    updating: Mutex<()>,
}

/// Registers metrics; their names are constants, and a test creates all of them.
struct Register(Registry);

impl Register {
    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let metric = made.expect("the name and the labels are constants of the right form");
        self.0.register(Box::new(metric.clone())).expect("each name is registered once");
        metric
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn seconds(&self, name: &str, help: &str) -> Gauge {
        self.add(Gauge::new(name, help))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// All metrics at zero. `nextrun_build_info` says which version this is.
    #[expect(clippy::too_many_lines, reason = "a table: one entry a metric")]
    pub fn new() -> Metrics {
        let r = Register(Registry::new());
        let build = r.gauges("nextrun_build_info", "Version of nextrun; the value is always 1.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let turns = HistogramOpts::new(
            "nextrun_turn_duration_seconds",
            "Duration of a pass of the main loop: reading new data, judging, committing.",
        );
        let metrics = Metrics {
            read_bytes: r.counter("nextrun_read_bytes_total", "Bytes read from event files."),
            read_events: r.counter("nextrun_read_events_total", "Events read from event files."),
            files: r.gauges("nextrun_files", "Followed event files, by state.", &["state"]),
            bad_records: r.gauge("nextrun_bad_records", "Skipped records of followed files."),
            lag_bytes: r.gauge("nextrun_lag_bytes", "Bytes of followed files not yet read or not yet complete."),
            runs: r.gauge("nextrun_runs", "Followed runs."),
            old_runs: r.gauge("nextrun_old_runs", "Runs skipped because they are old or ended."),
            jobs: r.gauge("nextrun_jobs", "Followed jobs."),
            jobs_with_symptom: r.gauges("nextrun_jobs_with_symptom", "Jobs that show the symptom now.", &["symptom"]),
            cases_open: r.gauges("nextrun_cases_open", "Open cases, by policy.", &["policy"]),
            cases_closed: r.gauges(
                "nextrun_cases_closed",
                "Closed cases in the database, by policy and verdict.",
                &["policy", "verdict"],
            ),
            probed_jobs: r.gauges(
                "nextrun_probed_jobs",
                "Probed jobs, by state; told: people were notified about the job.",
                &["state"],
            ),
            probes: r.gauges("nextrun_probes", "Quiet probes in the database, by outcome.", &["outcome"]),
            probe_seconds: r
                .seconds("nextrun_probe_seconds", "Total run time of the probes in the database, in seconds."),
            probed_seconds: r.seconds("nextrun_probed_job_seconds", "Total run time of the probed jobs, in seconds."),
            turns: r.add(Histogram::with_opts(turns.buckets(TURNS.to_vec()))),
            last_turn: r.seconds("nextrun_last_turn_timestamp_seconds", "Time of the latest pass of the main loop."),
            deliveries: r.gauges(
                "nextrun_deliveries",
                "Deliveries in the database, by destination and state.",
                &["destination", "state"],
            ),
            held_back: r.gauges("nextrun_messages_held_back", "Delayed messages.", &["destination"]),
            oldest_pending: r.seconds(
                "nextrun_oldest_pending_delivery_age_seconds",
                "Age of the oldest message that is still to be sent; 0 if there is none.",
            ),
            attempts: r.counters(
                "nextrun_delivery_attempts_total",
                "Delivery attempts, by destination and resulting state.",
                &["destination", "outcome"],
            ),
            owner: r.gauge(
                "nextrun_owner",
                "Whether this daemon owns the cases in a shared database: 1, or 0 as standby or without such a database.",
            ),
            term: r.gauge("nextrun_owner_term", "Number of the ownership of the cases in a shared database."),
            reload_successful: r.gauge(
                "nextrun_config_last_reload_successful",
                "Whether the newest configuration is in force: 1, or 0 after a rejected reload.",
            ),
            reload_time: r.seconds(
                "nextrun_config_last_reload_success_timestamp_seconds",
                "Time of the latest successful reload.",
            ),
            fates: r.counters("nextrun_fates_total", "Status reports of jobs, by state.", &["state"]),
            store_errors: r.counter("nextrun_store_errors_total", "Database errors."),
            forward_errors: r
                .counter("nextrun_forward_errors_total", "Requests of `nextrun forward` that could not be stored."),
            registry: r.0,
            updating: Mutex::new(()),
        };
        metrics.begun()
    }

    /// A series that exists from the start shows its first increase; one that appears with it does not.
    fn begun(self) -> Metrics {
        for state in ["read", "unfinished", "damaged", "unreadable"] {
            self.files.with_label_values(&[state]).set(0);
        }
        for state in PROBED {
            self.probed_jobs.with_label_values(&[state]).set(0);
        }
        self
    }

    /// While this is held, no text is rendered, so that several related metrics change at once.
    pub fn update(&self) -> MutexGuard<'_, ()> {
        self.updating.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All metrics in the Prometheus text format, version 0.0.4.
    ///
    /// # Errors
    /// A metric could not be rendered.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let _whole = self.update();
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The content type of [`Metrics::text`].
    pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_its_name_and_its_help() {
        let metrics = Metrics::new();
        metrics.attempts.with_label_values(&["team", "delivered"]).inc();
        metrics.turns.observe(0.003);
        let text = metrics.text().unwrap();
        for line in [
            concat!("nextrun_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "nextrun_delivery_attempts_total{destination=\"team\",outcome=\"delivered\"} 1",
            "nextrun_files{state=\"damaged\"} 0",
            "nextrun_turn_duration_seconds_bucket{le=\"0.005\"} 1",
            "# TYPE nextrun_read_bytes_total counter",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        let (help, kinds) = (text.matches("# HELP nextrun_").count(), text.matches("# TYPE nextrun_").count());
        assert_eq!((help, kinds), (22, 22), "those with labels show once they have some");
    }
}
