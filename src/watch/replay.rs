//! Every scalar of a log directory once, as logged.
//!
//! Owns: only the loop. For comparison with other readers and for scripts; diagnosis uses sketches.

use std::io;
use std::path::Path;

use super::source::WINDOW;
use crate::logdir::{Discovery, Kind, Logdir};
use crate::series::{Point, RunName};
use crate::tfevents::{Datum, Event, Tail, What};

/// Passes every scalar to `take`: run, tag, point with step and wall time as logged. Files come in the order of
/// [`Logdir::discover`] and then of their names. Returns what could not be seen, for people.
///
/// # Errors
///
/// If a file cannot be read.
pub fn each_scalar(logdir: &dyn Logdir, mut take: impl FnMut(&RunName, &str, Point)) -> io::Result<Vec<String>> {
    let Discovery { mut entries, problems, .. } = logdir.discover(Path::new(""));
    entries.retain(|entry| entry.kind == Kind::Events);
    entries.sort_by_cached_key(|entry| (entry.run(), entry.path.clone()));
    let mut buffer = vec![0; WINDOW];
    for entry in entries {
        let (file, run) = (logdir.open(&entry.path)?, entry.run());
        let mut tail = Tail::default();
        loop {
            let start = tail.offset();
            let got = file.read_at(&mut buffer, start)?;
            let advance = tail.advance(&buffer[..got], |record| scalars(record, |tag, point| take(&run, tag, point)));
            if got < buffer.len() {
                break;
            }
            if tail.offset() == start {
                let there = file.stat()?.size.saturating_sub(start).min(advance.wants.max(2 * buffer.len() as u64));
                buffer.resize(usize::try_from(there).unwrap_or(usize::MAX).max(buffer.len() + 1), 0);
            }
        }
    }
    Ok(problems)
}

fn scalars(record: &[u8], mut take: impl FnMut(&str, Point)) {
    let Ok(Event { wall_time, step, what: What::Summary(summary) }) = Event::parse(record) else { return };
    for value in summary.values().filter_map(Result::ok) {
        if let Datum::Scalar(number) = value.datum {
            take(&value.tag, Point { step, wall_time, value: number });
        }
    }
}
