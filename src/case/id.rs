//! Derived ids: the same step of the same case always has the same ids.

use sha2::{Digest, Sha256};

use super::CaseId;
use crate::policy::Position;

fn digest(parts: &[&str], length: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..length].to_owned()
}

/// The id of the `n`th case of a baseline that began at `started` (seconds since the Unix epoch, if known): a retrained
/// baseline of the same name gets separate cases.
pub fn case_id(baseline: &str, started: Option<f64>, n: usize) -> CaseId {
    let started = started.map_or_else(String::new, |time| format!("{time:.3}"));
    CaseId(digest(&[baseline, &started, &n.to_string()], 12))
}

/// The id of the `n`th suggestion of a case.
pub fn suggestion_id(case: &CaseId, at: &Position, n: usize) -> String {
    let digest = digest(&[&case.0, &at.state, &at.attempt.to_string(), &n.to_string()], 12);
    format!("{case}-{n:02}-{digest}")
}

/// The log directory of the `n`th experiment of a case, relative to the main log directory.
pub fn run_name(case: &CaseId, baseline: &str, at: &Position, n: usize) -> String {
    let plain = |text: &str| {
        let safe = text.chars().map(|c| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '-' });
        safe.collect::<String>().trim_matches('-').chars().take(40).collect::<String>()
    };
    let (baseline, state) = (plain(baseline), plain(&at.state));
    let name = if baseline.is_empty() { "run" } else { &baseline };
    format!("nextrun/{name}-{}/{n:02}-{state}", &case.0[..6])
}

/// The name of the experiment that a run belongs to, if it is in the directory of experiments.
pub fn experiment_of(run: &str) -> Option<&str> {
    let mut parts = run.splitn(4, '/');
    let (root, case, experiment) = (parts.next()?, parts.next()?, parts.next()?);
    let hash = case.rsplit_once('-').is_some_and(|(_, id)| id.len() == 6 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    let number = experiment.split_once('-').is_some_and(|(n, _)| n.len() >= 2 && n.bytes().all(|b| b.is_ascii_digit()));
    (root == "nextrun" && hash && number).then(|| &run[..root.len() + case.len() + experiment.len() + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_from_what_they_name() {
        let at = Position { state: "overfit_one_point".into(), attempt: 1 };
        let case = case_id("a/b", Some(1.5), 0);
        assert_eq!(case, case_id("a/b", Some(1.5), 0));
        assert_ne!(case, case_id("a/b", Some(2.5), 0));
        assert_ne!(suggestion_id(&case, &at, 1), suggestion_id(&case, &at, 2));
    }

    #[test]
    fn a_run_of_an_experiment_is_known_by_its_name() {
        let at = Position { state: "drop_batch_norm".into(), attempt: 1 };
        let name = run_name(&case_id("a", None, 0), "a/b", &at, 2);
        assert_eq!(experiment_of(&name), Some(name.as_str()));
        assert_eq!(experiment_of(&format!("{name}/train")), Some(name.as_str()));
        for other in
            ["a", "nextrun", "nextrun/a", "nextrun/a/b", "nextrun/a-123456/b", "x/a-123456/01-b", "nextrun/a-b/01-c"]
        {
            assert_eq!(experiment_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_run_name_stays_below_the_log_directory() {
        let at = Position { state: "x".into(), attempt: 1 };
        let case = case_id("a", None, 0);
        for baseline in ["../../etc", "/abs/olute", "a b\u{1b}[31m", "."] {
            let name = run_name(&case, baseline, &at, 1);
            assert!(name.starts_with("nextrun/") && !name.contains("..") && name.is_ascii(), "{name}");
            assert!(!name.contains(' ') && !name.contains('\u{1b}'));
        }
    }
}
