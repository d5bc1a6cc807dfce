//! What is counted and measured, under the names that operators see.
//!
//! Owns: names, help, units and labels of metrics, and their text form. Must not know: where numbers come from. No label
//! has the name of a job, run, tag or message: each takes its values from a list that is short by nature.

use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};

/// Upper bounds of a turn's duration in seconds: from an idle turn to one that the watchdog would end.
const TURNS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 5.0, 15.0, 60.0];

/// How it stands with a job that is probed.
pub const PROBED: [&str; 4] = ["open", "healthy", "inconclusive", "told"];

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    /// Bytes of event files that were read.
    pub read_bytes: IntCounter,
    /// Events that were read.
    pub read_events: IntCounter,
    /// Event files that are followed, by how they stand: read, unfinished, damaged, unreadable.
    pub files: IntGaugeVec,
    /// Records of the followed files that were passed over.
    pub bad_records: IntGauge,
    /// Bytes of followed files still to be read or waited for.
    pub lag_bytes: IntGauge,
    /// Runs that are followed.
    pub runs: IntGauge,
    /// Runs that are not read, because they are old or ended.
    pub old_runs: IntGauge,
    /// Jobs that are followed.
    pub jobs: IntGauge,
    /// Jobs whose newest examination found a symptom, by symptom.
    pub jobs_with_symptom: IntGaugeVec,
    /// Open cases, by policy.
    pub cases_open: IntGaugeVec,
    /// Closed cases that are still kept, by policy and verdict.
    pub cases_closed: IntGaugeVec,
    /// Jobs that are probed, or were, by how that stands: open, healthy, inconclusive, told.
    pub probed_jobs: IntGaugeVec,
    /// Probes that are kept, by outcome.
    pub probes: IntGaugeVec,
    /// Seconds that these probes took.
    pub probe_seconds: Gauge,
    /// Seconds that the jobs had used that are probed, or were.
    pub probed_seconds: Gauge,
    /// How long a turn of the loop takes, in seconds.
    pub turns: Histogram,
    /// When the loop turned last, in seconds since the Unix epoch.
    pub last_turn: Gauge,
    /// Deliveries that are kept, by destination and state.
    pub deliveries: IntGaugeVec,
    /// Messages that wait for a better moment, by destination.
    pub held_back: IntGaugeVec,
    /// Age of the oldest message that is still to be sent, in seconds; 0 where there is none.
    pub oldest_pending: Gauge,
    /// Tries of deliveries, by destination and the state that they led to.
    pub attempts: IntCounterVec,
    /// Whether the newest configuration is in force.
    pub reload_successful: IntGauge,
    /// When a configuration was last put in force, in seconds since the Unix epoch.
    pub reload_time: Gauge,
    /// Fates of jobs that were taken in, by state.
    pub fates: IntCounterVec,
    /// Times that the store could not do its work.
    pub store_errors: IntCounter,
    registry: Registry,
    updating: Mutex<()>,
}

/// Registers metrics; their names are constants, and a test makes them all.
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
    pub fn new() -> Metrics {
        let r = Register(Registry::new());
        let build = r.gauges("nextrun_build_info", "The version of nextrun that runs: always 1.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let turns = HistogramOpts::new(
            "nextrun_turn_duration_seconds",
            "How long a turn of the loop takes: reading what is new, judging, committing.",
        );
        let metrics = Metrics {
            read_bytes: r.counter("nextrun_read_bytes_total", "Bytes of event files that were read."),
            read_events: r.counter("nextrun_read_events_total", "Events that were read."),
            files: r.gauges("nextrun_files", "Event files that are followed, by how they stand.", &["state"]),
            bad_records: r.gauge("nextrun_bad_records", "Records of followed files that were passed over."),
            lag_bytes: r.gauge("nextrun_lag_bytes", "Bytes of followed files still to be read or waited for."),
            runs: r.gauge("nextrun_runs", "Runs that are followed."),
            old_runs: r.gauge("nextrun_old_runs", "Runs that are not read, because they are old or ended."),
            jobs: r.gauge("nextrun_jobs", "Jobs that are followed."),
            jobs_with_symptom: r.gauges("nextrun_jobs_with_symptom", "Jobs that show the symptom now.", &["symptom"]),
            cases_open: r.gauges("nextrun_cases_open", "Open cases, by policy.", &["policy"]),
            cases_closed: r.gauges(
                "nextrun_cases_closed",
                "Closed cases that are still kept, by policy and verdict.",
                &["policy", "verdict"],
            ),
            probed_jobs: r.gauges(
                "nextrun_probed_jobs",
                "Jobs that are probed, or were, by how that stands; told: people were told of the job.",
                &["state"],
            ),
            probes: r.gauges("nextrun_probes", "Quiet probes that are kept, by outcome.", &["outcome"]),
            probe_seconds: r.seconds("nextrun_probe_seconds", "Seconds that the probes that are kept took."),
            probed_seconds: r
                .seconds("nextrun_probed_job_seconds", "Seconds that the jobs that are probed, or were, have used."),
            turns: r.add(Histogram::with_opts(turns.buckets(TURNS.to_vec()))),
            last_turn: r.seconds("nextrun_last_turn_timestamp_seconds", "When the loop turned last."),
            deliveries: r.gauges(
                "nextrun_deliveries",
                "Deliveries that are kept, by destination and state.",
                &["destination", "state"],
            ),
            held_back: r.gauges(
                "nextrun_messages_held_back",
                "Messages that wait for a better moment.",
                &["destination"],
            ),
            oldest_pending: r.seconds(
                "nextrun_oldest_pending_delivery_age_seconds",
                "Age of the oldest message that is still to be sent; 0 where there is none.",
            ),
            attempts: r.counters(
                "nextrun_delivery_attempts_total",
                "Tries of deliveries, by destination and the state that they led to.",
                &["destination", "outcome"],
            ),
            reload_successful: r.gauge(
                "nextrun_config_last_reload_successful",
                "Whether the newest configuration is in force: 1, or 0 after a reload that was refused.",
            ),
            reload_time: r.seconds(
                "nextrun_config_last_reload_success_timestamp_seconds",
                "When a configuration was last put in force.",
            ),
            fates: r.counters("nextrun_fates_total", "Fates of jobs that were reported, by state.", &["state"]),
            store_errors: r.counter("nextrun_store_errors_total", "Times that the store could not do its work."),
            registry: r.0,
            updating: Mutex::new(()),
        };
        metrics.begun()
    }

    /// A series that is there from the start shows a first increase; one that appears with it does not.
    fn begun(self) -> Metrics {
        for state in ["read", "unfinished", "damaged", "unreadable"] {
            self.files.with_label_values(&[state]).set(0);
        }
        for state in PROBED {
            self.probed_jobs.with_label_values(&[state]).set(0);
        }
        self
    }

    /// While this is held no text is made: several metrics that belong together change at once.
    pub fn update(&self) -> MutexGuard<'_, ()> {
        self.updating.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All metrics in the text format of Prometheus, version 0.0.4.
    ///
    /// # Errors
    /// A metric could not be written as text.
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
        assert_eq!((help, kinds), (19, 19), "those with labels show once they have some");
    }
}
