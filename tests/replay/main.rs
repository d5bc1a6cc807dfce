//! Replay equals live: decisions depend on the events and on the ticks, never on how the bytes arrived.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../reader/common.rs"]
#[expect(dead_code, reason = "files of this test only grow")]
mod common;

mod history; // what jobs log, and when
mod live; // the daemon's steps without its threads

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;

use history::{History, Layout, Script};
use live::{Arrivals, Live};

fn script() -> impl Strategy<Value = Script> {
    let layout = prop_oneof![Just(Layout::OneFile), Just(Layout::TwoFiles), Just(Layout::TrainAndValidation)];
    let rate = prop_oneof![Just(0.001), Just(0.1), Just(1.0), Just(10.0)];
    let dies = prop::option::weighted(0.3, 0.2_f64..0.9);
    (layout, rate, 40_i64..300, 0_usize..3, 1_usize..6, dies, any::<bool>()).prop_map(
        |(layout, learning_rate, steps, starts, lasts, dies, told)| Script {
            layout,
            learning_rate,
            steps,
            starts,
            lasts,
            dies,
            told,
        },
    )
}

fn history() -> impl Strategy<Value = History> {
    prop::collection::vec(script(), 1..4).prop_map(History::new)
}

/// The ticks before which the daemon starts again.
fn restarts() -> impl Strategy<Value = BTreeSet<usize>> {
    prop::collection::btree_set(0_usize..20, 1..8)
}

/// What is decided at the first tick at which two logs differ.
fn first_difference<'l>(one: &'l [Value], other: &'l [Value]) -> Option<(&'l Value, &'l Value)> {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).find(|(one, other)| one != other)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Files that grow in pieces, cut anywhere, one before the other, looked at in between or not: the same log.
    #[test]
    fn however_the_bytes_arrive_the_log_is_the_same(history in history(), seed in any::<u64>()) {
        let at_once = Live::new(&history, Arrivals::AtOnce).run(|_| false);
        let in_pieces = Live::new(&history, Arrivals::InPieces(fastrand::Rng::with_seed(seed))).run(|_| false);
        prop_assert_eq!(first_difference(&at_once, &in_pieces), None);
    }

    /// A daemon that starts again, at any tick, reads everything anew and goes on as if nothing had been.
    #[test]
    fn a_restart_at_any_tick_changes_nothing(history in history(), restarts in restarts(), seed in any::<u64>()) {
        let history = history.each_within_a_tick();
        let undisturbed = Live::new(&history, Arrivals::AtOnce).run(|_| false);
        let arrivals = Arrivals::InPieces(fastrand::Rng::with_seed(seed));
        let restarted = Live::new(&history, arrivals).run(|tick| restarts.contains(&tick));
        prop_assert_eq!(first_difference(&undisturbed, &restarted), None);
    }

    /// While a job runs, when it is looked at hangs on when it was looked at before: after a restart its case may open a
    /// look later. The experiments and the verdict are the same, unless the job falls silent between the two looks: its
    /// case then opens with that finding, too.
    #[test]
    fn a_restart_while_jobs_run_leads_to_the_same_end(history in history(), restarts in restarts()) {
        let history = history.without_silence();
        let undisturbed = Live::new(&history, Arrivals::AtOnce);
        let restarted = Live::new(&history, Arrivals::AtOnce);
        prop_assert_eq!(undisturbed.ends(|_| false), restarted.ends(|tick| restarts.contains(&tick)));
    }
}

/// The properties would hold of a daemon that never does anything.
#[test]
fn there_is_a_log_to_compare() {
    let script = Script {
        layout: Layout::OneFile,
        learning_rate: 1.0,
        steps: 200,
        starts: 0,
        lasts: 2,
        dies: None,
        told: false,
    };
    let ends = Live::new(&History::new(vec![script]), Arrivals::AtOnce).ends(|_| false);
    assert_eq!(ends.len(), 1);
    assert_eq!(ends[0].verdict.as_deref(), Some("learning_rate_too_high"));
    assert!(ends[0].overrides.len() > 1, "{ends:?}");
}

/// A baseline that falls silent while its case is open: what it shows in the end is known after a restart, too.
#[test]
fn a_baseline_that_ended_stays_so_after_a_restart() {
    let dies = Some(0.8);
    let script =
        Script { layout: Layout::OneFile, learning_rate: 10.0, steps: 40, starts: 2, lasts: 1, dies, told: false };
    let history = History::new(vec![script]);
    let undisturbed = Live::new(&history, Arrivals::AtOnce).run(|_| false);
    for restart in 3..10 {
        let restarted = Live::new(&history, Arrivals::AtOnce).run(|tick| tick == restart);
        assert_eq!(first_difference(&undisturbed, &restarted), None, "restarted at tick {restart}");
    }
}

/// An engine that tells what became of jobs: its word ends them, and a restart forgets nothing of it.
#[test]
fn what_became_of_jobs_is_an_input_like_events() {
    let script =
        Script { layout: Layout::OneFile, learning_rate: 1.0, steps: 100, starts: 1, lasts: 1, dies: None, told: true };
    let broken = Script { learning_rate: 0.001, dies: Some(0.5), ..script.clone() };
    let history = History::new(vec![script, broken]);
    let undisturbed = Live::new(&history, Arrivals::AtOnce).run(|_| false);
    let ends = Live::new(&history, Arrivals::AtOnce).ends(|_| false);
    let verdicts: BTreeSet<_> = ends.iter().filter_map(|end| end.verdict.as_deref()).collect();
    assert_eq!(verdicts, BTreeSet::from(["infrastructure", "learning_rate_too_high"]), "{ends:?}");
    for restart in 2..12 {
        let restarted = Live::new(&history, Arrivals::AtOnce).run(|tick| tick == restart);
        assert_eq!(first_difference(&undisturbed, &restarted), None, "restarted at tick {restart}");
    }
}
