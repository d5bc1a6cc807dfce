//! Random programs as they are kept: one JSON line each, with its label and everything that it logged.
//!
//! Owns: the form of the line, and the way from it to the library's runs. Must not know: how programs are drawn.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::Context;
use nextrun::series::{Point, RunData, RunName, Runs};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::labels::{Label, Reached};
use super::program::{HeldBack, Program};

/// A program, what it is, and what it logged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Line")]
pub(crate) struct Record {
    /// What was drawn.
    pub(crate) program: Program,
    /// What of it nothing may be fitted on.
    #[serde(skip)]
    pub(crate) held_back: HeldBack,
    /// What it and its alternatives reached.
    pub(crate) reached: Reached,
    /// What it is.
    #[serde(skip)]
    pub(crate) label: Label,
    /// What it logged.
    pub(crate) runs: Vec<Run>,
    /// Processor seconds that training it and its alternatives took.
    pub(crate) seconds: f64,
}

/// What is kept of a record; the rest follows from it.
#[derive(Deserialize)]
struct Line {
    program: Program,
    reached: Reached,
    runs: Vec<Run>,
    seconds: f64,
}

impl From<Line> for Record {
    fn from(Line { program, reached, runs, seconds }: Line) -> Record {
        let (held_back, label) = (program.held_back(), Label::of(&reached));
        Record { program, held_back, reached, label, runs, seconds }
    }
}

/// One directory of event files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Below the job's own directory; empty for that itself.
    pub(crate) folder: String,
    /// Scalars.
    pub(crate) series: Vec<Series>,
    /// Settings by the names that the program gave them.
    pub(crate) hyperparameters: Map<String, Value>,
}

/// One tag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    /// Its name.
    pub(crate) tag: String,
    /// The step of each point as it was logged.
    pub(crate) steps: Places,
    /// The optimizer steps that were done at each point.
    pub(crate) at: Places,
    /// The values; NaN is `null`.
    #[serde(serialize_with = "write_values", deserialize_with = "read_values")]
    pub(crate) values: Vec<f32>,
}

/// Whole numbers, of which most are evenly spaced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Places {
    /// The first one, the distance, how many.
    Even(i64, i64, usize),
    /// Each of them.
    List(Vec<i64>),
}

impl Places {
    /// Keeps some numbers.
    pub(crate) fn of(numbers: &[i64]) -> Places {
        let first = numbers.first().copied().unwrap_or_default();
        let distance = numbers.get(1).map_or(0, |second| second - first);
        let even = (0..).zip(numbers).all(|(place, number)| *number == first + place * distance);
        if even { Places::Even(first, distance, numbers.len()) } else { Places::List(numbers.to_vec()) }
    }

    /// The numbers.
    pub(crate) fn to_vec(&self) -> Vec<i64> {
        match self {
            Places::Even(first, distance, count) => (0..).take(*count).map(|place| first + place * distance).collect(),
            Places::List(numbers) => numbers.clone(),
        }
    }
}

fn write_values<S: Serializer>(values: &[f32], serializer: S) -> Result<S::Ok, S::Error> {
    let shown = values.iter().map(|value| match value {
        value if value.is_nan() => Value::Null,
        value if value.is_infinite() => Value::from(if *value > 0.0 { "inf" } else { "-inf" }),
        // The shortest number that gives the same f32 again.
        value => serde_json::from_str(&format!("{value:?}")).unwrap_or(Value::Null),
    });
    serializer.collect_seq(shown)
}

fn read_values<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
    let values = Vec::<Value>::deserialize(deserializer)?;
    let number = |value: &Value| match value {
        Value::String(text) => text.parse().unwrap_or(f32::NAN),
        value => value.as_f64().map_or(f32::NAN, |value| value as f32),
    };
    Ok(values.iter().map(number).collect())
}

/// When programs begin, in seconds since the Unix epoch.
const BEGIN: f64 = 1_700_000_000.0;

impl Record {
    /// The name of its job.
    pub(crate) fn name(&self) -> String {
        format!("p{:06}", self.program.seed)
    }

    /// What it logged, as it can be shown to the library.
    pub(crate) fn log(&self) -> Log<'_> {
        let (steps, seconds) = (self.program.settings.steps, self.program.style.seconds);
        Log { name: self.name(), begin: BEGIN, steps, seconds, runs: Cow::Borrowed(&self.runs) }
    }
}

/// What a job logs from its beginning to its end.
pub(crate) struct Log<'a> {
    /// The job's directory.
    pub(crate) name: String,
    /// Seconds since the Unix epoch at which it begins.
    pub(crate) begin: f64,
    /// Optimizer steps.
    pub(crate) steps: usize,
    /// Seconds that each takes.
    pub(crate) seconds: f64,
    /// What is logged below the directory.
    pub(crate) runs: Cow<'a, [Run]>,
}

impl Log<'_> {
    /// Seconds since the Unix epoch at which this share of the steps is done.
    pub(crate) fn time_at(&self, share: f64) -> f64 {
        self.begin + (share * self.steps as f64).floor() * self.seconds
    }

    /// Adds what is logged after the share `from` of all steps and up to `until` (1 = all), and sets `from` to it. From
    /// nothing and 0, `runs` are what the library would hold by then.
    pub(crate) fn grow(&self, runs: &mut Runs, from: &mut f64, until: f64) {
        let place = |share: f64| (share * self.steps as f64).floor() as i64;
        let (begin, end) = (place(*from), place(until));
        for run in &*self.runs {
            let name = if run.folder.is_empty() { self.name.clone() } else { format!("{}/{}", self.name, run.folder) };
            let mut points: Vec<(i64, usize, i64, f32)> = Vec::new();
            for (tag, series) in run.series.iter().enumerate() {
                let places = series.at.to_vec().into_iter().zip(series.steps.to_vec()).zip(&series.values);
                let new = places.filter(|((at, _), _)| *at > begin && *at <= end);
                points.extend(new.map(|((at, step), value)| (at, tag, step, *value)));
            }
            if points.is_empty() {
                continue;
            }
            points.sort_by_key(|(at, tag, ..)| (*at, *tag));
            let data = runs.entry(RunName::new(&name)).or_default();
            if data.events() == 0 {
                run.hyperparameters.iter().for_each(|(name, value)| data.hyperparameter(name, value.clone()));
            }
            for (at, tag, step, value) in points {
                let wall_time = self.begin + at as f64 * self.seconds;
                add(data, &run.series[tag].tag, Point { step, wall_time, value: f64::from(value) });
            }
        }
        *from = until;
    }
}

fn add(data: &mut RunData, tag: &str, point: Point) {
    data.event(point.wall_time);
    if let Some(id) = data.tag_id(tag) {
        data.scalar(id, point);
    }
}

/// All records of a file, by seed. A last line that was cut off is left out.
///
/// # Errors
/// When the file cannot be read, or another line of it is damaged.
pub(crate) fn read(path: &Path) -> anyhow::Result<BTreeMap<u64, Record>> {
    let file = File::open(path).with_context(|| format!("{}: cannot read", path.display()))?;
    let mut records = BTreeMap::new();
    let mut damaged = None;
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.with_context(|| format!("{}: cannot read", path.display()))?;
        if let Some(error) = damaged {
            return Err(error).with_context(|| format!("{}:{number}: no record", path.display()));
        }
        match serde_json::from_str::<Record>(&line) {
            Ok(record) => drop(records.insert(record.program.seed, record)),
            Err(error) => damaged = Some(error),
        }
    }
    Ok(records)
}

/// Appends a record to a file.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn append(path: &Path, record: &Record) -> anyhow::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("{}: cannot write", path.display()))?;
    let line = format!("{}\n", serde_json::to_string(record)?);
    file.write_all(line.as_bytes()).with_context(|| format!("{}: cannot write", path.display()))
}
