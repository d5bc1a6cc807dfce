//! Finds the job that runs a suggestion.

use super::Experiment;
use crate::facts::Knobs;

/// A job that may run a suggestion.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its name.
    pub job: &'a str,
    /// The suggestion id that it states.
    pub suggestion: Option<&'a str>,
    /// Whether the process of the experiment was observed to write the events of this job.
    pub opened: bool,
    /// Its knobs.
    pub knobs: &'a Knobs,
    /// Seconds since the Unix epoch of its first event.
    pub started: Option<f64>,
    /// Its other roles.
    pub known: Known,
}

/// The known role of a job, besides what it states itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// None.
    Free,
    /// It belongs to another suggestion: it has that suggestion's name, or was linked to it.
    AnotherSuggestion,
    /// It is the baseline of a case.
    Baseline,
}

/// An open suggestion with the settings of its run.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The suggestion.
    pub experiment: &'a Experiment,
    /// The baseline's known settings with the changes.
    pub knobs: &'a Knobs,
}

/// The result of the search for a suggestion's job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link<'a> {
    /// There is none yet.
    None,
    /// This job.
    To {
        /// Its name.
        job: &'a str,
        /// How it was found.
        by: &'static str,
    },
    /// The evidence points to different jobs, or to one of another suggestion, so none is used.
    Disputed {
        /// The evidence.
        why: String,
    },
}

/// Minimum number of equal knobs; fewer could be a coincidence.
const EQUAL_KNOBS: usize = 3;

/// Finds the job of an experiment: by the suggestion id that it states, by the event files that its process was
/// observed to write, or by its name. If these point to different jobs, none is used. A suggestion sent only to people
/// is also matched by settings. `others` are the other open suggestions.
pub fn link<'a>(wanted: Wanted<'_>, others: &[Wanted<'_>], candidates: &[Candidate<'a>]) -> Link<'a> {
    let experiment = wanted.experiment;
    let mut claims: Vec<(&Candidate<'a>, &'static str)> = Vec::new();
    let stated = |c: &&Candidate<'a>| c.suggestion == Some(experiment.suggestion.as_str());
    claims.extend(candidates.iter().filter(stated).map(|c| (c, "the suggestion id that it states")));
    claims.extend(candidates.iter().filter(|c| c.opened).map(|c| (c, "the event files that its process wrote")));
    claims.extend(candidates.iter().filter(|c| c.job == experiment.run_name).map(|c| (c, "its name")));
    let Some((first, by)) = claims.first().copied() else { return by_settings(wanted, others, candidates) };
    let other = |c: &Candidate<'_>| c.suggestion.is_some_and(|stated| stated != experiment.suggestion);
    let asked = |c: &Candidate<'_>| c.known == Known::AnotherSuggestion;
    let wrong = claims.iter().find(|(c, _)| c.job != first.job || other(c) || asked(c));
    match wrong {
        None => Link::To { job: first.job, by },
        Some((job, how)) => Link::Disputed { why: dispute((first, by), (job, how)) },
    }
}

fn dispute((first, by): (&Candidate<'_>, &str), (wrong, how): (&Candidate<'_>, &str)) -> String {
    if first.job != wrong.job {
        return format!("{by} points to {}, {how} to {}", first.job, wrong.job);
    }
    if wrong.known == Known::AnotherSuggestion {
        return format!("{how} points to {}, which belongs to another suggestion", wrong.job);
    }
    format!("{how} points to {}, which states the suggestion id {}", wrong.job, wrong.suggestion.unwrap_or_default())
}

fn by_settings<'a>(wanted: Wanted<'_>, others: &[Wanted<'_>], candidates: &[Candidate<'a>]) -> Link<'a> {
    if !wanted.experiment.machines.is_empty() {
        return Link::None;
    }
    let free = candidates.iter().filter(|c| c.suggestion.is_none() && c.known == Known::Free);
    let fitting = free.filter(|c| fits(c, wanted)).filter(|c| {
        let rivals = others.iter().filter(|other| fits(c, **other));
        rivals.clone().count() == 0 || same_seed(c, wanted) && !rivals.clone().any(|rival| same_seed(c, *rival))
    });
    let earliest =
        fitting.min_by(|a, b| a.started.unwrap_or(f64::INFINITY).total_cmp(&b.started.unwrap_or(f64::INFINITY)));
    earliest.map_or(Link::None, |c| Link::To { job: c.job, by: "equal hyperparameters after the suggestion" })
}

fn same_seed(candidate: &Candidate<'_>, wanted: Wanted<'_>) -> bool {
    let seed = candidate.knobs.get("seed");
    seed.is_some() && seed == wanted.knobs.get("seed")
}

/// Whether a run that a person started has the suggested settings.
fn fits(candidate: &Candidate<'_>, wanted: Wanted<'_>) -> bool {
    let Wanted { experiment, knobs: wanted } = wanted;
    let after = candidate.started.is_some_and(|started| started >= experiment.suggested);
    let same = |name: &String| {
        candidate.knobs.get(name).zip(wanted.get(name)).is_some_and(|(a, b)| crate::facts::same_value(a, b))
    };
    let changed = experiment.proposal.changes.keys();
    // All changes are present, and all other known settings except the seed are equal.
    let shared = candidate.knobs.keys().filter(|name| wanted.contains_key(*name) && *name != "seed");
    after
        && changed.clone().all(same)
        && changed.count() > 0
        && shared.clone().all(same)
        && shared.count() >= EQUAL_KNOBS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Position, Proposal};
    use serde_json::json;

    fn knobs(seed: i64) -> Knobs {
        let knobs = json!({"learning_rate": 0.1, "batch_size": 32, "optimizer": "sgd", "seed": seed});
        serde_json::from_value(knobs).unwrap()
    }

    fn experiment(suggestion: &str) -> Experiment {
        let at = Position { state: "lower".into(), attempt: 1 };
        let text = String::new;
        let proposal = Proposal {
            at,
            step: text(),
            changes: Knobs::from([("learning_rate".into(), json!(0.1))]),
            why: text(),
            hypothesis: text(),
            expect: text(),
            beliefs: Default::default(),
        };
        Experiment::new(suggestion.to_owned(), proposal, format!("nextrun/{suggestion}"), 100.0)
    }

    fn candidate<'a>(job: &'a str, knobs: &'a Knobs) -> Candidate<'a> {
        Candidate { job, suggestion: None, opened: false, knobs, started: Some(200.0), known: Known::Free }
    }

    #[test]
    fn an_id_is_stronger_than_nothing_and_must_not_be_contradicted() {
        let (experiment, knobs) = (experiment("s1"), knobs(1));
        let wanted = Wanted { experiment: &experiment, knobs: &knobs };
        let named = candidate("nextrun/s1", &knobs);
        let stated = Candidate { suggestion: Some("s1"), ..candidate("elsewhere", &knobs) };
        let opened = Candidate { opened: true, ..candidate("version_3", &knobs) };
        for (only, by) in [(named, "its name"), (stated, "suggestion id"), (opened, "event files")] {
            let Link::To { job, by: how } = link(wanted, &[], &[only]) else { panic!("{only:?}") };
            assert!(job == only.job && how.contains(by), "{how}");
        }
        for pair in [[named, stated], [named, opened], [stated, opened]] {
            let Link::Disputed { why } = link(wanted, &[], &pair) else { panic!("{pair:?}") };
            assert!(why.contains(pair[0].job) && why.contains(pair[1].job), "{why}");
        }
        let other = Candidate { suggestion: Some("s2"), ..named };
        assert!(matches!(link(wanted, &[], &[other]), Link::Disputed { .. }), "its folder states another suggestion");
        let both = Candidate { suggestion: Some("s1"), opened: true, ..named };
        assert!(matches!(link(wanted, &[], &[both]), Link::To { .. }));
        let taken = Candidate { known: Known::AnotherSuggestion, ..stated };
        assert!(matches!(link(wanted, &[], &[taken]), Link::Disputed { .. }));
    }

    #[test]
    fn equal_settings_count_for_people_only_and_for_free_jobs_only() {
        let (mut mine, settings) = (experiment("s1"), knobs(1));
        let job = candidate("by_hand", &settings);
        let found = |mine: &Experiment, others: &[Wanted<'_>], job: Candidate<'_>| {
            let wanted = Wanted { experiment: mine, knobs: &settings };
            matches!(link(wanted, others, &[job]), Link::To { .. })
        };
        assert!(found(&mine, &[], job));
        assert!(!found(&mine, &[], Candidate { known: Known::AnotherSuggestion, ..job }));
        assert!(!found(&mine, &[], Candidate { known: Known::Baseline, ..job }));
        assert!(!found(&mine, &[], Candidate { started: Some(99.0), ..job }), "it began before the suggestion");
        let (rival, other_seed) = (experiment("s2"), knobs(2));
        assert!(found(&mine, &[Wanted { experiment: &rival, knobs: &other_seed }], job), "its seed decides");
        assert!(!found(&mine, &[Wanted { experiment: &rival, knobs: &settings }], job), "nobody can tell whose it is");
        mine.machines = vec!["queue".into()];
        assert!(!found(&mine, &[], job), "a queue has it, whose run states whose it is");
    }
}
