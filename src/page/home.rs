//! The start page: items that need a person, open cases, jobs, costs.
//!
//! Owns: this order, and the filter of jobs. Must not know: the source of lines.

use maud::{Markup, html};

use super::case::{need_of, waits};
use super::time::{ago, moment};
use super::words::{count, per_cent, sentence, shown, words};
use super::{CaseLine, Frame, JobLine, Month, Need, document, masthead, month};

/// Maximum number of jobs on a page; a filter finds the others.
const MOST_JOBS: usize = 200;

/// Closed cases that are listed, the newest.
const MOST_CLOSED: usize = 30;

/// The data of the start page.
#[derive(Debug)]
pub struct Home<'a> {
    /// Whether the daemon works; otherwise the reason.
    pub readiness: Result<&'static str, String>,
    /// Who owns the cases, if several daemons could.
    pub owner: Option<String>,
    /// Runs that are followed.
    pub runs: usize,
    /// Cases, open ones first.
    pub cases: &'a [CaseLine],
    /// Items besides cases that need a person.
    pub needs: Vec<Need>,
    /// Jobs by name.
    pub jobs: Vec<(&'a str, &'a JobLine)>,
    /// Which jobs are listed.
    pub filter: JobFilter,
    /// The sums of this month.
    pub month: &'a Month,
    /// Seconds since the Unix epoch.
    pub now: f64,
}

/// Which jobs are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// A part of the name.
    pub name: String,
    /// How it is doing; empty: however.
    pub status: String,
}

impl JobFilter {
    fn takes(&self, name: &str, job: &JobLine) -> bool {
        let status = self.status.is_empty() || job.status == Some(self.status.as_str());
        status && name.to_lowercase().contains(&self.name.to_lowercase())
    }

    fn is_set(&self) -> bool {
        *self != JobFilter::default()
    }
}

impl Home<'_> {
    /// The page.
    pub fn html(&self, frame: Frame) -> String {
        let content = html! {
            (masthead(frame, Some(&self.readiness)))
            main id="content" {
                h1.unseen { "nextrun" }
                (self.needs(frame))
                (self.investigated())
                (self.closed())
                (self.jobs())
                (month::section(self.month))
                @if let Some(owner) = &self.owner { p.quiet { (shown(owner, 200)) } }
            }
        };
        document("nextrun", frame, &content)
    }

    fn needs(&self, frame: Frame) -> Markup {
        let of_cases: Vec<(&CaseLine, &Need)> =
            self.cases.iter().filter_map(|line| Some((line, line.needs.as_ref()?))).collect();
        let needed = of_cases.len() + self.needs.len();
        html! {
            section aria-labelledby="needs" {
                h2 id="needs" { "Needs you" @if needed > 0 { " " span.badge { (needed) } } }
                @if needed == 0 { p.quiet { "Nothing." } }
                @for (line, need) in of_cases {
                    article {
                        h3 { a href=(format!("/cases/{}", line.case_id)) { (shown(&line.baseline_run, 120)) } }
                        @if let Some(since) = need.since { p.quiet { "Since " (moment(since, Some(self.now))) } }
                        (need_of(need, line, frame, Some(self.now)))
                    }
                }
                @for need in &self.needs {
                    article {
                        div.need {
                            p { strong { (need.kind.word()) ": " } (shown(&need.text, 600)) }
                            @if let Some(since) = need.since { p.quiet { "Since " (moment(since, Some(self.now))) } }
                            @if let Some(command) = &need.command { p { code { (shown(command, 200)) } } }
                        }
                    }
                }
            }
        }
    }

    fn investigated(&self) -> Markup {
        let open: Vec<&CaseLine> = self.cases.iter().filter(|line| line.verdict.is_none()).collect();
        html! {
            section aria-labelledby="open" {
                h2 id="open" { "Being investigated" @if !open.is_empty() { " " span.badge { (open.len()) } } }
                @if open.is_empty() {
                    p.quiet { "No case is open." }
                } @else {
                    div.scroll tabindex="0" role="region" aria-label="Open cases" {
                        table {
                            thead { tr {
                                th scope="col" { "Job" } th scope="col" { "Shows" } th scope="col" { "Waits for" }
                                th scope="col" { "Since" } th.number scope="col" { "Experiments" }
                            } }
                            tbody {
                                @for line in open {
                                    tr {
                                        th scope="row" { a href=(format!("/cases/{}", line.case_id)) { (shown(&line.baseline_run, 120)) } }
                                        td { (listed(&line.symptoms)) }
                                        td { (waits(line)) }
                                        td.when { (moment(line.since.unwrap_or(line.opened), Some(self.now))) }
                                        td.number { (line.experiments) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn closed(&self) -> Markup {
        let closed: Vec<&CaseLine> = self.cases.iter().filter(|line| line.verdict.is_some()).collect();
        html! {
            @if !closed.is_empty() {
                section aria-labelledby="closed" {
                    h2 id="closed" { "Closed" }
                    div.scroll tabindex="0" role="region" aria-label="Closed cases" {
                        table {
                            thead { tr {
                                th scope="col" { "Job" } th scope="col" { "Cause" } th.number scope="col" { "Confidence" }
                                th scope="col" { "Opened" } th.number scope="col" { "Experiments" }
                            } }
                            tbody {
                                @for line in closed.iter().take(MOST_CLOSED) {
                                    tr {
                                        th scope="row" { a href=(format!("/cases/{}", line.case_id)) { (shown(&line.baseline_run, 120)) } }
                                        td { (sentence(&words(line.verdict.as_deref().unwrap_or_default()))) }
                                        td.number { @if let Some(confidence) = line.confidence { (per_cent(confidence)) } }
                                        td.when { (moment(line.opened, Some(self.now))) }
                                        td.number { (line.experiments) }
                                    }
                                }
                            }
                        }
                    }
                    @if closed.len() > MOST_CLOSED { p.quiet { code { "nextrun cases list --all" } " lists all." } }
                }
            }
        }
    }

    fn jobs(&self) -> Markup {
        let mut taken: Vec<&(&str, &JobLine)> =
            self.jobs.iter().filter(|(name, job)| self.filter.takes(name, job)).collect();
        taken.sort_by_key(|(_, job)| rank(job));
        html! {
            section aria-labelledby="jobs" {
                h2 id="jobs" { "Jobs" " " span.badge { (crate::picture::number(self.jobs.len() as f64, 9)) } }
                p.quiet { (count(self.runs, "run")) " followed." }
                form.filter method="get" action="/#jobs" role="search" aria-label="Filter of jobs" {
                    label { "Name " input type="search" name="name" value=(self.filter.name); }
                    label { "Status "
                        select name="status" {
                            option value="" { "any" }
                            @for status in STATUSES {
                                option value=(status) selected[self.filter.status == status] { (status) }
                            }
                        }
                    }
                    button type="submit" { "Filter" }
                    @if self.filter.is_set() { a href="/#jobs" { "Show all" } }
                }
                @if taken.is_empty() {
                    p.quiet { @if self.jobs.is_empty() { "No job was seen yet." } @else { "No job matches." } }
                } @else {
                    (self.table(&taken))
                }
                @if taken.len() > MOST_JOBS {
                    p.quiet { "Another " (count(taken.len() - MOST_JOBS, "job")) "; filter to see them." }
                }
            }
        }
    }

    fn table(&self, jobs: &[&(&str, &JobLine)]) -> Markup {
        let case = |name: &str| self.cases.iter().find(|line| line.baseline_run == name);
        html! {
            div.scroll tabindex="0" role="region" aria-label="Jobs, as a table" {
                table {
                    thead { tr {
                        th scope="col" { "Job" } th scope="col" { "Status" } th.number scope="col" { "P(failing)" }
                        th scope="col" { "Shows" } th scope="col" { "Newest event" } th scope="col" { "Case" }
                    } }
                    tbody {
                        @for (name, job) in jobs.iter().take(MOST_JOBS) {
                            tr {
                                th scope="row" { (shown(name, 120)) }
                                td { (status(job)) }
                                td.number { @if let Some(p) = job.probability { (per_cent(p)) } }
                                td { (listed(&job.symptoms)) }
                                td.when { (ago((self.now - job.last_seen).max(0.0))) }
                                td { @if let Some(line) = case(name) { a href=(format!("/cases/{}", line.case_id)) { (line.case_id) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The statuses, those first that want to be seen.
const STATUSES: [&str; 5] = ["failing", "suspect", "unknown", "healthy", "experiment"];

fn rank(job: &JobLine) -> usize {
    let status = job.status.unwrap_or("unknown");
    STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len())
}

fn status(job: &JobLine) -> Markup {
    let (class, word) = match job.status {
        Some("experiment") => ("trial", "experiment"),
        Some(status) => (status, status),
        None => ("unknown", "not looked at"),
    };
    html! { span class=(format!("status {class}")) { (word) } }
}

fn listed(symptoms: &[String]) -> String {
    symptoms.iter().map(|symptom| words(symptom)).collect::<Vec<_>>().join(", ")
}
