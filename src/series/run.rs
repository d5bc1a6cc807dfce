//! All data that one run has logged so far.

use std::collections::BTreeMap;

use super::attempts::Series;
use super::histogram::{HistogramSketch, Moments};
use super::point::Point;
use super::sketch::Sketch;
use crate::launched::Launched;

/// A run by its path relative to the log directory, with `/` between parts; `.` is the log directory itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunName(String);

impl RunName {
    /// Takes a relative path; the empty one becomes `.`.
    pub fn new(relative: &str) -> RunName {
        let trimmed = relative.trim_matches('/');
        RunName(if trimmed.is_empty() { ".".to_owned() } else { trimmed.to_owned() })
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RunName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// All runs of a log directory, in the order of their names.
pub type Runs = BTreeMap<RunName, RunData>;

/// A tag by its place among those of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagId(u32);

impl TagId {
    /// The place as a number.
    pub(crate) fn slot(self) -> u32 {
        self.0
    }
}

/// What a run reported about its own session (`_hparams_/session_end_info`, `SessionLog`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SessionMark {
    /// Seconds since the Unix epoch.
    pub wall_time: f64,
    /// Whether the session ended successfully, if reported.
    pub success: Option<bool>,
}

/// A summary of all data that one run has logged so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunData {
    tags: Vec<Box<str>>,
    /// The tags in the order of their names.
    by_name: Vec<TagId>,
    series: Vec<Series>,
    histograms: BTreeMap<String, HistogramSketch>,
    texts: BTreeMap<String, String>,
    hyperparameters: BTreeMap<String, serde_json::Value>,
    session_end: Option<SessionMark>,
    first_wall_time: Option<f64>,
    last_wall_time: Option<f64>,
    /// Step of the first `SessionLog.START`.
    session_start: Option<i64>,
    /// Number of events, of whatever kind.
    events: u64,
    /// Whether the latest file of the run, or one that is written at the same time, ends in the middle of a record.
    pub cut_off: bool,
    /// Why its latest file cannot be read, for people.
    pub unreadable: Option<Box<str>>,
    /// The data that other programs wrote to the same directory at the same time, by the name of the writer.
    beside: Vec<(Box<str>, RunData)>,
    /// How it was started, according to a file next to its events. Events are not trusted for this.
    pub launched: Option<Box<Launched>>,
}

/// Maximum length of a text; texts are used only for hyperparameters and identifiers.
const MAX_TEXT: usize = 64 * 1024;

/// Maximum number of distinct tags per run; further ones are ignored (and counted by the reader).
const MAX_TAGS: usize = 20_000;

impl RunData {
    /// The id of a tag, new or known; `None` once the run has too many.
    pub fn tag_id(&mut self, tag: &str) -> Option<TagId> {
        let place = match self.find(tag) {
            Ok(id) => return Some(id),
            Err(place) => place,
        };
        if self.tags.len() >= MAX_TAGS {
            return None;
        }
        let id = TagId(u32::try_from(self.tags.len()).ok()?);
        if self.series.len() == self.series.capacity() {
            // In smaller steps than doubling: an empty place costs as much as a short series.
            let more = 5 + self.series.len() / 8;
            self.series.reserve_exact(more);
            self.tags.reserve_exact(more);
            self.by_name.reserve_exact(more);
        }
        self.by_name.insert(place, id);
        self.tags.push(tag.into());
        self.series.push(Series::default());
        Some(id)
    }

    /// The id of a known tag, or its place among the names.
    fn find(&self, tag: &str) -> Result<TagId, usize> {
        let place = self.by_name.binary_search_by(|id| (*self.tags[id.0 as usize]).cmp(tag))?;
        Ok(self.by_name[place])
    }

    /// Takes one scalar. A step that goes back is a restart, or one of the other things that programs do with their
    /// steps; see [`Series`].
    pub fn scalar(&mut self, id: TagId, point: Point) {
        let series = &mut self.series[id.0 as usize];
        series.push(point);
        series.settle();
    }

    /// Takes an event with one scalar of many; [`RunData::settle`] is owed before the data are read. `slot` is a
    /// [`TagId::slot`], and `wall_time` is as the program wrote it.
    #[inline(always)]
    pub(crate) fn scalar_of_many(&mut self, slot: u32, step: i64, wall_time: f64, value: f64) {
        self.events += 1;
        let in_order = match &mut self.last_wall_time {
            Some(last) if wall_time >= *last && wall_time < f64::INFINITY => {
                *last = wall_time;
                true
            }
            _ => false,
        };
        let wall_time = if in_order { wall_time } else { self.note_time(wall_time) };
        if let Some(series) = self.series.get_mut(slot as usize) {
            series.push(Point { step, wall_time, value });
        }
    }

    /// Takes one of several scalars of an event.
    pub(crate) fn scalar_of_event(&mut self, id: TagId, point: Point) {
        self.series[id.0 as usize].push(point);
    }

    /// Brings all series up to date after [`RunData::scalar_of_many`] and [`RunData::scalar_of_event`].
    pub(crate) fn settle(&mut self) {
        self.series.iter_mut().for_each(Series::settle);
    }

    /// The whole run goes on from an earlier step (`SessionLog.START`).
    pub fn restart(&mut self, step: i64) {
        self.session_start.get_or_insert(step);
        for series in &mut self.series {
            series.restart(step);
        }
    }

    /// Takes a hyperparameter, unless the program logged one of that name itself.
    pub(crate) fn hyperparameter_beside(&mut self, name: &str, value: serde_json::Value) {
        if !self.hyperparameters.contains_key(name) {
            self.hyperparameter(name, value);
        }
    }

    /// Adds what another file of the same run has logged, where `self` is all that comes before it in the order of
    /// files.
    pub(crate) fn absorb(&mut self, next: &RunData) {
        let beside = matches!((self.last_wall_time, next.first_wall_time), (Some(last), Some(first)) if last > first);
        if let (Some(step), false) = (next.session_start, beside) {
            self.restart(step);
        }
        for (tag, series) in next.series() {
            if let Some(id) = self.tag_id(tag) {
                self.series[id.0 as usize].absorb(series);
            }
        }
        for (tag, sketch) in &next.histograms {
            if let Some(known) = self.histograms.get_mut(tag) {
                known.absorb(sketch);
            } else if self.histograms.len() < MAX_TAGS {
                self.histograms.insert(tag.clone(), sketch.clone());
            }
        }
        next.texts.iter().for_each(|(tag, text)| self.text(tag, text));
        next.hyperparameters.iter().for_each(|(name, value)| self.hyperparameter(name, value.clone()));
        self.session_end = next.session_end.or(self.session_end);
        let either =
            |a: Option<f64>, b: Option<f64>, of: fn(f64, f64) -> f64| a.zip(b).map(|(a, b)| of(a, b)).or(a).or(b);
        self.first_wall_time = either(self.first_wall_time, next.first_wall_time, f64::min);
        self.last_wall_time = either(self.last_wall_time, next.last_wall_time, f64::max);
        self.session_start = self.session_start.or(next.session_start);
        self.events += next.events;
        self.cut_off = match (beside, next.events) {
            (true, _) => self.cut_off || next.cut_off,
            (false, 0) => self.cut_off,
            // An attempt that was killed earlier is nothing that the newest could be blamed for.
            (false, _) => next.cut_off,
        };
        if self.unreadable.is_none() || next.unreadable.is_some() {
            self.unreadable.clone_from(&next.unreadable);
        }
        if next.launched.is_some() {
            self.launched.clone_from(&next.launched);
        }
    }

    /// The run as it was when each series had reached the step that `step_of` names for its tag and sketch (that of the
    /// root mean squares for a histogram). What it said of itself in texts and hyperparameters is kept; an end is not.
    #[must_use]
    pub fn until(&self, mut step_of: impl FnMut(&str, &Sketch) -> i64) -> RunData {
        let series = self.tags.iter().zip(&self.series);
        let series: Vec<Series> = series.map(|(tag, series)| series.until(step_of(tag, &series.sketch))).collect();
        let cut = |(tag, sketch): (&String, &HistogramSketch)| (tag.clone(), sketch.until(step_of(tag, &sketch.rms)));
        let histograms: BTreeMap<String, HistogramSketch> = self.histograms.iter().map(cut).collect();
        let sketches = || series.iter().map(|s| &s.sketch).chain(histograms.values().map(|h| &h.rms));
        let times = sketches().filter_map(Sketch::last).map(|last| last.wall_time).filter(|time| time.is_finite());
        let (last_wall_time, points) = (times.reduce(f64::max), sketches().map(Sketch::count).sum::<u64>());
        RunData {
            last_wall_time: last_wall_time.or(self.first_wall_time),
            events: points.min(self.events),
            session_end: None,
            cut_off: false,
            beside: Vec::new(),
            series,
            histograms,
            ..self.clone()
        }
    }

    /// Takes the moments of one histogram.
    pub fn histogram(&mut self, tag: &str, step: i64, wall_time: f64, moments: Moments) {
        if let Some(sketch) = self.histograms.get_mut(tag) {
            sketch.push(step, wall_time, moments);
        } else if self.histograms.len() < MAX_TAGS {
            self.histograms.entry(tag.to_owned()).or_default().push(step, wall_time, moments);
        }
    }

    /// Takes a text; the newest of a tag is kept.
    pub fn text(&mut self, tag: &str, text: &str) {
        if self.texts.len() < MAX_TAGS || self.texts.contains_key(tag) {
            let end = text.floor_char_boundary(MAX_TEXT);
            self.texts.insert(tag.to_owned(), text[..end].to_owned());
        }
    }

    /// Takes one logged hyperparameter, by the name that the program gave it.
    pub fn hyperparameter(&mut self, name: &str, value: serde_json::Value) {
        if self.hyperparameters.len() < MAX_TAGS || self.hyperparameters.contains_key(name) {
            self.hyperparameters.insert(name.to_owned(), value);
        }
    }

    /// Sets what other programs wrote into the same directory at the same time.
    pub(crate) fn set_beside(&mut self, others: impl Iterator<Item = (String, RunData)>) {
        self.beside = others.map(|(writer, data)| (writer.into(), data)).collect();
    }

    /// What other programs wrote into the same directory at the same time, each by the name of its writer: trainings of
    /// their own, of which nothing is in `self`.
    pub fn beside(&self) -> impl Iterator<Item = (&str, &RunData)> {
        self.beside.iter().map(|(writer, data)| (&**writer, data))
    }

    /// Takes the run's word that its session ended.
    pub fn session_ended(&mut self, mark: SessionMark) {
        self.session_end = Some(mark);
    }

    /// Counts an event of whatever kind and notes its time.
    pub fn event(&mut self, wall_time: f64) {
        self.events += 1;
        self.note_time(wall_time);
    }

    /// Gives the time back; NaN if it is no time.
    #[cold]
    fn note_time(&mut self, wall_time: f64) -> f64 {
        if !wall_time.is_finite() {
            return f64::NAN;
        }
        self.first_wall_time = Some(self.first_wall_time.map_or(wall_time, |t| t.min(wall_time)));
        self.last_wall_time = Some(self.last_wall_time.map_or(wall_time, |t| t.max(wall_time)));
        wall_time
    }

    /// Scalar tags with their series, in the order in which they were first logged.
    pub fn series(&self) -> impl Iterator<Item = (&str, &Series)> {
        self.tags.iter().map(|tag| &**tag).zip(&self.series)
    }

    /// One scalar tag.
    pub fn get(&self, tag: &str) -> Option<&Series> {
        self.find(tag).ok().map(|id| &self.series[id.0 as usize])
    }

    /// Histogram tags with their history, in the order of their names.
    pub fn histograms(&self) -> impl Iterator<Item = (&str, &HistogramSketch)> {
        self.histograms.iter().map(|(tag, sketch)| (tag.as_str(), sketch))
    }

    /// Texts by tag.
    pub fn texts(&self) -> &BTreeMap<String, String> {
        &self.texts
    }

    /// Hyperparameters by the names that the program gave them.
    pub fn hyperparameters(&self) -> &BTreeMap<String, serde_json::Value> {
        &self.hyperparameters
    }

    /// The run's word that its session ended, unless it logged on after that.
    pub fn session_end(&self) -> Option<SessionMark> {
        self.session_end.filter(|mark| self.last_wall_time.is_none_or(|last| last <= mark.wall_time))
    }

    /// Seconds since the Unix epoch of the first event.
    pub fn first_wall_time(&self) -> Option<f64> {
        self.first_wall_time
    }

    /// Seconds since the Unix epoch of the newest event.
    pub fn last_wall_time(&self) -> Option<f64> {
        self.last_wall_time
    }

    /// Number of events, of whatever kind.
    pub fn events(&self) -> u64 {
        self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_can_be_seen_as_it_was() {
        let mut run = RunData::default();
        let id = run.tag_id("loss").expect("room");
        for step in 0..100 {
            run.event(step as f64);
            run.scalar(id, Point { step, wall_time: step as f64, value: step as f64 });
            let moments = Moments { min: 0.0, max: 1.0, num: 1.0, sum: 1.0, sum_squares: step as f64 };
            run.histogram("weights", step, step as f64, moments);
        }
        run.session_ended(SessionMark { wall_time: 99.0, success: Some(true) });
        let early = run.until(|_, sketch| sketch.last().map_or(0, |last| last.step - 10));
        assert_eq!(early.get("loss").and_then(|series| series.sketch.last()).map(|p| p.step), Some(89));
        assert_eq!(early.histograms().next().and_then(|(_, h)| h.rms.last()).map(|p| p.step), Some(89));
        assert_eq!((early.session_end(), early.last_wall_time(), early.events()), (None, Some(89.0), 100));
        assert_eq!(run.until(|_, _| i64::MAX).get("loss"), run.get("loss").map(|s| s.until(i64::MAX)).as_ref());
    }
}
