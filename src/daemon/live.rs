//! What a person at a terminal sees while the daemon works: how far the first look is, then jobs, cases, and what each
//! waits for.
//!
//! Owns: the words of these lines, and when they are drawn. Must not know: how they are drawn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::now;
use crate::destinations::sparkline;
use crate::page::shown;
use crate::screen;
use crate::status::{Board, CaseLine, JobLine, Shown};
use crate::watch::Progress;

/// Drawn so often: fast enough to be alive, slow enough to cost nothing.
const EVERY: Duration = Duration::from_millis(250);

/// So many cases and so many other jobs have a line.
const MOST_CASES: usize = 8;
const MOST_JOBS: usize = 6;

/// So many characters of a job's name are shown, its end: names differ there.
const MOST_NAME: usize = 32;

/// So many characters of a curve.
const MOST_CURVE: usize = 20;

/// The lines at the bottom of a terminal. They go when this is dropped.
pub(super) struct Live {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Draws from now on.
    pub(super) fn start(board: Arc<Board>, progress: Vec<Arc<Progress>>, logdir: String) -> Live {
        screen::open();
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let thread = std::thread::spawn(move || {
            while !asked.load(Ordering::SeqCst) {
                if board.has_looked() {
                    screen::show(&lines(&board.shown(), &logdir, now()));
                } else {
                    draw_reading(&progress, &logdir);
                }
                std::thread::sleep(EVERY);
            }
        });
        Live { stop, thread: Some(thread) }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // It ends within one turn, and a panic there concerns nobody else.
            drop(thread.join());
        }
        screen::close();
    }
}

fn draw_reading(progress: &[Arc<Progress>], logdir: &str) {
    let each = progress.iter().map(|one| one.bytes());
    let (done, all) = each.fold((0, 0), |(done, all), (more, more_all)| (done + more, all + more_all));
    if all == 0 {
        screen::progress(&format!("Looking for event files in {logdir}"), 0, 0);
    } else {
        screen::progress("Reading event files", done, all);
    }
}

/// What there is to see, the newest cases first.
fn lines(all: &Shown, logdir: &str, now: f64) -> Vec<String> {
    if all.jobs.is_empty() {
        return vec![format!("No event files in {logdir} yet. Waiting for the first; press Ctrl-C to stop.")];
    }
    let open: Vec<&CaseLine> = all.cases.iter().filter(|case| case.verdict.is_none()).collect();
    let mut lines = vec![summary(all, open.len())];
    lines.extend(open.iter().take(MOST_CASES).map(|case| case_line(case, now)));
    if open.len() > MOST_CASES {
        lines.push(format!("  and {} more open cases: `nextrun cases list`", open.len() - MOST_CASES));
    }
    let mut others: Vec<(&String, &JobLine)> =
        all.jobs.iter().filter(|(name, _)| open.iter().all(|case| case.baseline_run != **name)).collect();
    others.sort_by(|a, b| b.1.last_seen.total_cmp(&a.1.last_seen));
    lines.extend(others.into_iter().take(MOST_JOBS).map(|(name, job)| {
        let status = job.status.unwrap_or("not judged yet");
        format!("  {:MOST_NAME$}  {status:16} last event {} ago", name_of(name), span(now - job.last_seen))
    }));
    lines
}

fn summary(all: &Shown, open: usize) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for job in all.jobs.values() {
        *counts.entry(job.status.unwrap_or("not judged yet")).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    let jobs = plural(all.jobs.len(), "job");
    format!(
        "{jobs} ({}) · {} · waiting for new events; press Ctrl-C to stop",
        counts.join(", "),
        plural(open, "open case")
    )
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn case_line(case: &CaseLine, now: f64) -> String {
    let waits = match case.waiting.as_str() {
        "experiment" => {
            let tests = case.hypothesis.as_deref().map(|tests| format!(" ({})", shown(tests, 80))).unwrap_or_default();
            format!("waits for experiment {}{tests}", case.experiments)
        }
        "answer" => "needs your answer".to_owned(),
        "approval" => "needs your approval".to_owned(),
        "room" => "waits for a free slot".to_owned(),
        "budget" => "waits for its budget".to_owned(),
        "paused" => "paused until you resume it".to_owned(),
        other => other.to_owned(),
    };
    let since = case.since.map(|since| format!(", for {}", span(now - since))).unwrap_or_default();
    let recent = case.loss_curve.len().saturating_sub(MOST_CURVE);
    let curve = sparkline(&case.loss_curve[recent..]);
    let id: String = case.case_id.chars().take(6).collect();
    format!("● {:MOST_NAME$}  {curve:MOST_CURVE$}  case {id} {waits}{since}", name_of(&case.baseline_run))
}

fn name_of(job: &str) -> String {
    let name = shown(job, 200);
    let length = name.chars().count();
    if length <= MOST_NAME {
        return name;
    }
    let end: String = name.chars().skip(length - MOST_NAME + 1).collect();
    format!("…{end}")
}

/// A length of time as people say it.
fn span(seconds: f64) -> String {
    match seconds.max(0.0) {
        short if short < 120.0 => format!("{short:.0} s"),
        minutes if minutes < 7200.0 => format!("{:.0} min", minutes / 60.0),
        hours if hours < 172_800.0 => format!("{:.0} h", hours / 3600.0),
        days => format!("{:.0} days", days / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_each_case_waits_for_and_how_long() {
        let case = |job: &str, waiting: &str, since: f64| CaseLine {
            case_id: "3f2a9c11".into(),
            baseline_run: job.into(),
            waiting: waiting.into(),
            since: Some(since),
            experiments: 2,
            hypothesis: Some("the learning rate is too high".into()),
            loss_curve: vec![Some(3.0), Some(2.0), Some(1.0), None],
            ..CaseLine::default()
        };
        let job = |status, last_seen| JobLine { status, last_seen, ..JobLine::default() };
        let all = Shown {
            cases: vec![case("vision/resnet/7", "experiment", 820.0), case("nlp/\u{1b}[31m", "approval", 999.0)],
            jobs: [
                ("vision/resnet/7".to_owned(), job(Some("failing"), 990.0)),
                ("nlp/\u{1b}[31m".to_owned(), job(Some("failing"), 990.0)),
                (format!("sweep/{}", "x".repeat(60)), job(Some("healthy"), 997.0)),
                ("new".to_owned(), job(None, 998.0)),
            ]
            .into(),
            ..Shown::default()
        };
        insta::assert_snapshot!("lines", lines(&all, "/runs", 1000.0).join("\n"));
        assert!(lines(&Shown::default(), "/runs", 0.0)[0].starts_with("No event files in /runs yet"));
    }

    #[test]
    fn a_length_of_time_is_short() {
        let spans = [3.0, 119.0, 180.0, 10_000.0, 200_000.0, -5.0].map(span);
        assert_eq!(spans, ["3 s", "119 s", "3 min", "3 h", "2 days", "0 s"]);
    }
}
