//! People, as the configuration names them: who may answer, and whose a job is.

use super::glob::Glob;
use crate::case::Person;

/// Who may answer what is asked about a job: the first pattern that matches a job counts. Without any, everybody may whom
/// the provider lets through; with some, nobody may answer for a job that none of them matches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Approvers(Vec<(Glob, Vec<String>)>);

impl Approvers {
    /// Each pattern of jobs with people as `PROVIDER:USER`, or `PROVIDER:*` for all of a provider.
    pub fn new(by_job: Vec<(Glob, Vec<String>)>) -> Approvers {
        Approvers(by_job)
    }

    /// The patterns in their order.
    pub fn by_job(&self) -> &[(Glob, Vec<String>)] {
        &self.0
    }

    /// Whether this person may answer what is asked about this job.
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

/// What vouches for people who answer.
pub(super) const PROVIDERS: [&str; 3] = ["slack", "local", "http"];

/// Whose jobs are whose, for messages: the first pattern that matches a job counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Owners(Vec<(Glob, Vec<String>)>);

impl Owners {
    /// Each pattern of jobs with its owners: `slack:ID` and `discord:ID` are mentioned there, anything else is a name.
    pub fn new(by_job: Vec<(Glob, Vec<String>)>) -> Owners {
        Owners(by_job)
    }

    /// The patterns in their order.
    pub fn by_job(&self) -> &[(Glob, Vec<String>)] {
        &self.0
    }

    /// The owners of a job; none where no pattern matches.
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
