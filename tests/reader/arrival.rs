//! Replay equals live: however the bytes of event files arrive, the data of the runs are the same.

use std::fmt::Write as _;

use crate::common::MemoryLogdir;
use nextrun::series::Runs;
use nextrun::tfevents::encode;
use nextrun::watch::{Options, Watcher};
use proptest::prelude::*;

/// A file of a run: when its events were written, from which step on, what is strange about it.
#[derive(Debug, Clone)]
struct Script {
    name: String,
    start: f64,
    events: Vec<(i64, u8, f32)>,
    begins_session: bool,
    damage: Option<(usize, u8)>,
}

fn bytes(script: &Script) -> Vec<u8> {
    let mut out = encode::file_version(script.start);
    if script.begins_session {
        out.extend(encode::session_log(script.start, script.events.first().map_or(0, |e| e.0), 1));
    }
    for (i, &(step, kind, value)) in script.events.iter().enumerate() {
        let wall_time = script.start + i as f64;
        let moments = [-1.0, f64::from(value), 10.0, 1.0, 20.0];
        out.extend(match kind % 5 {
            0 | 1 => encode::scalar(wall_time, step, "train/loss", value),
            2 => encode::tensor_scalar(wall_time, step, "val/loss", value),
            3 => encode::histogram(wall_time, step, "layer/weights", moments, &[(0.0, 1.0)]),
            _ => encode::text(wall_time, step, "note", &format!("{value}")),
        });
    }
    if let Some((at, bit)) = script.damage {
        let at = at % out.len();
        out[at] ^= 1 << (bit % 8);
    }
    out
}

fn script() -> impl Strategy<Value = Script> {
    let value = prop_oneof![8 => -10.0_f32..10.0, 1 => Just(f32::NAN), 1 => Just(f32::INFINITY)];
    let pace = prop_oneof![4 => Just(1_i64), 1 => Just(0), 1 => Just(-3), 1 => Just(-40)];
    let events = proptest::collection::vec((pace, any::<u8>(), value), 0..60);
    let damage = prop_oneof![3 => Just(None), 1 => (any::<usize>(), any::<u8>()).prop_map(Some)];
    (0_u64..4, 0_u64..3, 0_i64..100, events, any::<bool>(), damage).prop_map(
        |(second, host, first, events, begins_session, damage)| {
            let mut step = first;
            let events = events.into_iter().map(|(pace, kind, value)| {
                step += pace;
                (step, kind, value)
            });
            Script {
                name: format!("run{}/events.out.tfevents.{}.host{host}", host % 2, 1_700_000_000 + second * 30),
                start: 1_700_000_000.0 + second as f64 * 30.0,
                events: events.collect(),
                begins_session,
                damage,
            }
        },
    )
}

/// All that can be seen of the runs, as text: NaN is equal to NaN there.
pub(crate) fn shown(runs: &Runs) -> String {
    let mut out = String::new();
    for (name, run) in runs {
        let times = (run.first_wall_time(), run.last_wall_time(), run.session_end(), run.events(), run.cut_off);
        let _ = writeln!(out, "{name}: {times:?} {:?} {:?}", run.texts(), run.hyperparameters());
        run.series().for_each(|(tag, series)| writeln!(out, "{tag}: {series:?}").unwrap_or_default());
        run.histograms().for_each(|(tag, sketch)| writeln!(out, "{tag}: {sketch:?}").unwrap_or_default());
    }
    out
}

fn final_runs(watcher: &mut Watcher) -> String {
    watcher.poll(1e9);
    shown(watcher.runs())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn arrival_changes_nothing(
        scripts in proptest::collection::vec(script(), 1..5),
        arrivals in proptest::collection::vec((any::<prop::sample::Index>(), 1_usize..700), 0..60),
        with_side_file in any::<bool>(),
    ) {
        let files: std::collections::BTreeMap<String, Vec<u8>> =
            scripts.iter().map(|script| (script.name.clone(), bytes(script))).collect();
        let files: Vec<_> = files.into_iter().collect();
        let side = (with_side_file).then(|| ("run0/hparams.yaml".to_owned(), b"lr: 0.1\nmodel:\n  depth: 2\n".to_vec()));

        let whole = MemoryLogdir::default();
        files.iter().chain(&side).for_each(|(name, bytes)| whole.write(name, bytes));
        let mut at_once = Watcher::new(Box::new(whole.clone()), Options { threads: 2 });
        let replayed = final_runs(&mut at_once);

        let growing = MemoryLogdir::default();
        let mut live = Watcher::new(Box::new(growing.clone()), Options { threads: 1 });
        let mut sent = vec![0; files.len()];
        for (now, (which, more)) in arrivals.into_iter().enumerate() {
            let which = which.index(files.len());
            let (name, bytes) = &files[which];
            sent[which] = (sent[which] + more).min(bytes.len());
            growing.write(name, &bytes[..sent[which]]);
            if now % 3 == 0 {
                live.poll(now as f64);
            } else {
                live.poll_paths(now as f64, [std::path::Path::new(name)]);
            }
        }
        files.iter().chain(&side).for_each(|(name, bytes)| growing.write(name, bytes));
        let lived = final_runs(&mut live);
        prop_assert_eq!(lived, replayed);
    }
}
