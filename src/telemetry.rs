//! Log output: to the journal under systemd, otherwise to standard error as text or JSON; and the names of metrics.
//!
//! Owns: the setup of `tracing`, the list of metrics. Must not know: the content of logs, the origin of numbers.

mod escape;
mod metrics;

use std::io;

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::screen::Above;
use escape::Escaping;
pub use metrics::{Metrics, PROBED};

/// Format of log entries on standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One line per entry, for people.
    #[default]
    Text,
    /// One JSON object per entry, for programs. Not used for the journal, which has its own fields.
    Json,
}

/// Whether a person at a terminal sees what happens without the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    /// Lines are drawn that say it: only warnings are logged beside them.
    Yes,
    /// The log says it.
    No,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `RUST_LOG` is not a filter.
    #[error("RUST_LOG={value} is not a filter ({source}): write a level such as debug, or nextrun::watch=trace,warn")]
    Filter {
        /// Its value.
        value: String,
        /// The cause.
        #[source]
        source: ParseError,
    },
    /// Logging was already set up.
    #[error("logging is already set up: {0}")]
    Again(#[from] TryInitError),
}

/// Sets up logging for the whole process.
///
/// `verbose` counts `--verbose`; `rust_log` and `journal_stream` are the environment variables `RUST_LOG`, which takes
/// precedence, and `JOURNAL_STREAM`.
///
/// # Errors
///
/// `RUST_LOG` is not a valid filter, or logging is already set up.
pub fn init(
    verbose: u8,
    format: LogFormat,
    rust_log: Option<&str>,
    journal_stream: Option<&str>,
    live: Live,
) -> Result<(), TelemetryError> {
    let filter = filter(verbose, live, rust_log)?;
    Registry::default().with(filter).with(output(format, journal_stream)).try_init()?;
    Ok(())
}

fn output(
    format: LogFormat,
    journal_stream: Option<&str>,
) -> Box<dyn Layer<tracing_subscriber::layer::Layered<EnvFilter, Registry>> + Send + Sync> {
    // If the journal is unreachable, it still receives standard error.
    let journal =
        (format == LogFormat::Text && is_stderr(journal_stream)).then(tracing_journald::layer).and_then(Result::ok);
    match (journal, format) {
        (Some(journal), _) => journal.with_field_prefix(Some("NEXTRUN".to_owned())).boxed(),
        (None, LogFormat::Text) => {
            fmt::layer().with_ansi(false).with_target(false).with_writer(Escaping(|| Above(io::stderr()))).boxed()
        }
        (None, LogFormat::Json) => fmt::layer().json().flatten_event(true).with_writer(io::stderr).boxed(),
    }
}

/// Other crates log at `warn`, regardless of the level of this crate.
fn filter(verbose: u8, live: Live, rust_log: Option<&str>) -> Result<EnvFilter, TelemetryError> {
    let level = match verbose {
        0 if live == Live::Yes => "warn",
        0 => "warn,nextrun=info",
        1 => "warn,nextrun=debug",
        _ => "warn,nextrun=trace",
    };
    let value = rust_log.map(str::trim).filter(|value| !value.is_empty()).unwrap_or(level);
    EnvFilter::try_new(value).map_err(|source| TelemetryError::Filter { value: value.to_owned(), source })
}

/// Whether standard error is the stream that systemd announced as `device:inode` (systemd.exec(5)) and has not been
/// redirected since.
fn is_stderr(journal_stream: Option<&str>) -> bool {
    let stderr = rustix::fs::fstat(io::stderr()).map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
    stderr.is_ok_and(|stream| journal_stream == Some(stream.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_used_where_it_listens() {
        let stat = rustix::fs::fstat(io::stderr()).unwrap();
        assert!(is_stderr(Some(&format!("{}:{}", stat.st_dev, stat.st_ino))));
        let other = format!("{}:{}", stat.st_dev, stat.st_ino ^ 1);
        for other in [None, Some(""), Some("8"), Some(other.as_str())] {
            assert!(!is_stderr(other), "{other:?}");
        }
    }

    #[test]
    fn the_environment_wins_over_the_flag() {
        assert_eq!(filter(1, Live::No, None).unwrap().to_string(), "nextrun=debug,warn");
        assert_eq!(filter(1, Live::Yes, Some(" ")).unwrap().to_string(), "nextrun=debug,warn");
        assert_eq!(filter(0, Live::Yes, Some("error")).unwrap().to_string(), "error");
        assert_eq!(filter(0, Live::Yes, None).unwrap().to_string(), "warn");
        let wrong = filter(0, Live::No, Some("nextrun=loud")).unwrap_err().to_string();
        assert!(wrong.starts_with("RUST_LOG=nextrun=loud is not a filter"), "{wrong}");
    }
}
