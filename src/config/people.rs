//! People in the configuration: who may answer, and who owns a job.

use super::glob::Glob;
use crate::case::Person;

/// Who may answer questions about a job. The first matching pattern applies. Without patterns, everyone accepted by the
/// provider may answer; with patterns, nobody may answer for a job that matches none of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Approvers(Vec<(Glob, Vec<String>)>);

impl Approvers {
    /// Job patterns, each with people as `PROVIDER:USER`, or `PROVIDER:*` for all users of a provider.
    pub fn new(by_job: Vec<(Glob, Vec<String>)>) -> Approvers {
        Approvers(by_job)
    }

    /// The patterns in order.
    pub fn by_job(&self) -> &[(Glob, Vec<String>)] {
        &self.0
    }

    /// Whether this person may answer questions about this job.
    pub fn may(&self, job: &str, person: &Person) -> bool {
        let listed = |people: &Vec<String>| {
            people
                .iter()
                .filter_map(|one| one.split_once(':'))
                .any(|(provider, user)| provider == person.provider && (user == "*" || user == person.user))
        };
        self.0.is_empty() || self.0.iter().find(|(glob, _)| glob.matches(job)).is_some_and(|(_, people)| listed(people))
    }
}

/// The provider that authenticates people who answer.
pub(super) const PROVIDERS: [&str; 3] = ["slack", "local", "http"];

/// The owners of jobs, for messages. The first matching pattern applies.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Owners(Vec<(Glob, Vec<String>)>);

impl Owners {
    /// Job patterns, each with its owners: `slack:ID` and `discord:ID` are mentioned, anything else is a name.
    pub fn new(by_job: Vec<(Glob, Vec<String>)>) -> Owners {
        Owners(by_job)
    }

    /// The patterns in order.
    pub fn by_job(&self) -> &[(Glob, Vec<String>)] {
        &self.0
    }

    /// The owners of a job; empty if no pattern matches.
    pub fn of(&self, job: &str) -> &[String] {
        self.0.iter().find(|(glob, _)| glob.matches(job)).map_or(&[], |(_, owners)| owners)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pattern_that_matches_a_job_says_who_may_answer() {
        let by_job = [("vision/**", vec!["slack:U1", "local:*"]), ("vision/9", vec!["slack:U2"])];
        let by_job =
            by_job.map(|(glob, people)| (Glob::new(glob).unwrap(), people.into_iter().map(Into::into).collect()));
        let approvers = Approvers::new(by_job.into());
        let may = |job, provider: &str, user: &str| {
            approvers.may(job, &Person { provider: provider.into(), user: user.into(), name: None })
        };
        assert!(may("vision/9", "slack", "U1") && may("vision/1", "local", "ada"));
        assert!(!may("vision/9", "slack", "U2") && !may("nlp/1", "slack", "U1") && !may("vision/1", "http", "act"));
        assert!(Approvers::default().may("nlp/1", &Person::default()));
    }
}
