//! Files of runs that grow in any order with any cuts: the data are the same as when they are read at once.
#![no_main]

#[path = "../../tests/reader/common.rs"]
#[allow(dead_code, unreachable_pub, reason = "a test's helper; not all of it is needed here")]
mod common;

use std::fmt::Write as _;
use std::path::Path;

use common::MemoryLogdir;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use nextrun::series::Runs;
use nextrun::tfevents::encode;
use nextrun::watch::{Options, Watcher};

#[derive(Debug, Arbitrary)]
struct File {
    run: bool,
    second: u8,
    parts: Vec<Part>,
}

#[derive(Debug, Arbitrary)]
enum Part {
    Scalar { tag: u8, step: i16, value: f32 },
    Tensor { tag: u8, step: i64, value: f32 },
    Histogram { step: i16, moments: [f64; 5] },
    Text { text: String },
    SessionStart { step: i16 },
    Record { data: Vec<u8> },
    Raw { bytes: Vec<u8> },
}

fn bytes(file: &File) -> Vec<u8> {
    let start = 1_700_000_000.0 + f64::from(file.second);
    let mut out = encode::file_version(start);
    for (i, part) in file.parts.iter().enumerate() {
        let time = start + i as f64;
        out.extend(match part {
            Part::Scalar { tag, step, value } => encode::scalar(time, (*step).into(), name(*tag), *value),
            Part::Tensor { tag, step, value } => encode::tensor_scalar(time, *step, name(*tag), *value),
            Part::Histogram { step, moments } => encode::histogram(time, (*step).into(), "h", *moments, &[(0.0, 1.0)]),
            Part::Text { text } => encode::text(time, 0, "note", text),
            Part::SessionStart { step } => encode::session_log(time, (*step).into(), 1),
            Part::Record { data } => encode::record(data),
            Part::Raw { bytes } => bytes.clone(),
        });
    }
    out
}

fn name(tag: u8) -> &'static str {
    ["train/loss", "val/loss", "lr", "x"][usize::from(tag % 4)]
}

/// All that can be seen of the runs, as text: NaN is equal to NaN there.
fn shown(runs: &Runs) -> String {
    let mut out = String::new();
    for (name, run) in runs {
        let times = (run.first_wall_time(), run.last_wall_time(), run.session_end(), run.events(), run.cut_off);
        let _ = writeln!(out, "{name}: {times:?} {:?} {:?}", run.texts(), run.hyperparameters());
        run.series().for_each(|(tag, series)| writeln!(out, "{tag}: {series:?}").unwrap_or_default());
        run.histograms().for_each(|(tag, sketch)| writeln!(out, "{tag}: {sketch:?}").unwrap_or_default());
    }
    out
}

fuzz_target!(|input: (Vec<File>, Vec<(u8, u16)>)| {
    let (files, arrivals) = input;
    let files: std::collections::BTreeMap<String, Vec<u8>> = files
        .iter()
        .take(4)
        .map(|file| {
            let run = if file.run { "a" } else { "a/b" };
            (format!("{run}/events.out.tfevents.{}.host", 1_700_000_000 + u64::from(file.second)), bytes(file))
        })
        .collect();
    let files: Vec<_> = files.into_iter().collect();
    if files.is_empty() {
        return;
    }
    let whole = MemoryLogdir::default();
    files.iter().for_each(|(name, bytes)| whole.write(name, bytes));
    let mut at_once = Watcher::new(Box::new(whole), Options { threads: 1 });
    at_once.poll(1e9);

    let growing = MemoryLogdir::default();
    let mut live = Watcher::new(Box::new(growing.clone()), Options { threads: 1 });
    let mut sent = vec![0; files.len()];
    for (now, (which, more)) in arrivals.into_iter().take(64).enumerate() {
        let which = usize::from(which) % files.len();
        let (name, bytes) = &files[which];
        sent[which] = (sent[which] + usize::from(more)).min(bytes.len());
        growing.write(name, &bytes[..sent[which]]);
        if now % 3 == 0 {
            live.poll(now as f64);
        } else {
            live.poll_paths(now as f64, [Path::new(name)]);
        }
    }
    files.iter().for_each(|(name, bytes)| growing.write(name, bytes));
    live.poll(1e9);
    assert_eq!(shown(live.runs()), shown(at_once.runs()));
});
