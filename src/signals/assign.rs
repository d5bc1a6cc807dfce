//! Reads every tag of a job, and chooses among several of one meaning.
//!
//! Must not know: how patterns are written.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::layers;
use super::site::{SitePattern, SiteRule, SiteRuleError};
use super::table::{Reads, Row, Table};
use super::text::Text;
use super::{Learning, Matched, Signal, SignalMap, TagInfo, TagKind};

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    Table::parse(include_str!("../../policies/signals.yaml")).expect("the unit tests read the same embedded file")
});

/// The naming conventions of the table, and the site's own before them.
#[derive(Debug, Clone, Default)]
pub struct SignalRules {
    site: Arc<[SitePattern]>,
}

/// Which data a scalar was measured on, so far as its words tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    Unsaid,
    Training,
    /// With the place of the list of words: a lower one is believed more.
    Validation(usize),
}

/// The meaning of one tag.
struct Reading<'a> {
    signal: Signal,
    role: Role,
    place: Rank,
    matched: Matched,
    info: &'a TagInfo<'a>,
    /// What is left of the text without the words for training and validation.
    measure: String,
}

/// How much a reading is preferred to others of its signal: the smallest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    guessed: bool,
    split: usize,
    row: usize,
    /// More points are more to go by: steps before epochs.
    points: Reverse<u64>,
    logged: usize,
}

/// What a tag tells of how the job learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Plain,
    /// The site says so itself.
    Declared,
    /// A part of a validation loss.
    ValidationPart,
    /// What is added to a loss with an unknown weight.
    Penalty,
    Generator,
    Discriminator,
    Policy,
    Rating,
    /// A reward where nothing else tells how well it goes.
    Goal,
}

impl SignalRules {
    /// The table with the site's patterns before it. The error tells which pattern is at fault, by its place in `rules`.
    pub fn with_site(rules: &[SiteRule]) -> Result<SignalRules, (usize, SiteRuleError)> {
        let compiled = rules.iter().enumerate().map(|(i, rule)| SitePattern::new(rule).map_err(|error| (i, error)));
        Ok(SignalRules { site: compiled.collect::<Result<_, _>>()? })
    }

    /// What the tags of one job mean; they come in the order in which they were first logged, where that is known.
    pub fn assign(&self, tags: &[TagInfo<'_>]) -> SignalMap {
        let logged = tags.iter().enumerate().filter(|(_, info)| info.points > 0);
        let mut readings: Vec<Reading<'_>> = logged.filter_map(|(i, info)| self.read(i, info)).collect();
        let learning = learning(&readings);
        if learning == Learning::Reinforcement && !has(&readings, Signal::Reward) {
            promote_scores(&mut readings);
        }
        match learning {
            Learning::Adversarial | Learning::Reinforcement => demote_losses(&mut readings),
            Learning::Supervised | Learning::Unknown => promote_part(&mut readings),
        }
        let learning = if has(&readings, Signal::TrainLoss) { Learning::Supervised } else { learning };
        SignalMap { learning, by_signal: gather(readings) }
    }

    fn read<'a>(&self, logged: usize, info: &'a TagInfo<'a>) -> Option<Reading<'a>> {
        let place = Rank { guessed: false, split: 0, row: 0, points: Reverse(info.points), logged };
        let (alone, whole) = (Text::new("", info.tag), Text::new(info.folder, info.tag));
        for (row, pattern) in self.site.iter().enumerate() {
            let found = pattern.find(&alone).map(|range| (&alone, range));
            if let Some((text, range)) = found.or_else(|| Some((&whole, pattern.find(&whole)?))) {
                let layer = trimmed(text.original(range));
                let matched = matched(info, pattern.rule.clone(), layer);
                let (signal, place) = (pattern.signal?, Rank { row, ..place });
                return Some(Reading { signal, role: Role::Declared, place, matched, info, measure: String::new() });
            }
        }
        // Past every row of the site.
        let place = Rank { row: self.site.len(), ..place };
        match info.kind {
            TagKind::Scalar => read_scalar(&whole, info, place),
            TagKind::Histogram => read_histogram(&alone, info, place),
        }
    }
}

fn read_scalar<'a>(text: &Text, info: &'a TagInfo<'a>, place: Rank) -> Option<Reading<'a>> {
    let (training, rest) = text.take(&TABLE.training);
    let (validation, rest) = rest.take(&TABLE.validation);
    let (row_number, row) = TABLE.scalars.first(rest.as_str())?;
    // Training loss as an evaluation measures it is not what is minimised: it is a poor validation loss at best.
    let both = training.is_some() && validation.is_some();
    let split = match validation {
        Some(list) => Split::Validation(list),
        None if training.is_some() => Split::Training,
        None => Split::Unsaid,
    };
    let (signal, role) = signal_of(row.reads, split)?;
    let place = Rank {
        guessed: !row.sure,
        split: validation.unwrap_or(0) + if both { TABLE.validation.len() } else { 0 },
        row: place.row + row_number,
        ..place
    };
    let mut matched = matched(info, row.rule.clone(), layer_of(row, &rest));
    matched.sure = row.sure;
    Some(Reading { signal, role, place, matched, info, measure: rest.as_str().to_owned() })
}

fn read_histogram<'a>(text: &Text, info: &'a TagInfo<'a>, place: Rank) -> Option<Reading<'a>> {
    let (row_number, row) = TABLE.histograms.first(text.as_str())?;
    let (signal, role) = signal_of(row.reads, Split::Unsaid)?;
    let mut matched = matched(info, row.rule.clone(), layer_of(row, text));
    matched.sure = row.sure;
    let place = Rank { guessed: !row.sure, row: place.row + row_number, ..place };
    Some(Reading { signal, role, place, matched, info, measure: String::new() })
}

/// The signal of a row for one side; `None` where that says nothing, such as the learning rate of a validation.
fn signal_of(reads: Reads, split: Split) -> Option<(Signal, Role)> {
    let validation = matches!(split, Split::Validation(_));
    let plain = |signal| Some((signal, Role::Plain));
    let training_only = |signal, role| (!validation).then_some((signal, role));
    match reads {
        Reads::Loss => plain(if validation { Signal::ValidationLoss } else { Signal::TrainLoss }),
        Reads::Accuracy => plain(if validation { Signal::ValidationAccuracy } else { Signal::TrainAccuracy }),
        Reads::ValidationAccuracy if split == Split::Training => plain(Signal::TrainAccuracy),
        Reads::ValidationAccuracy => plain(Signal::ValidationAccuracy),
        Reads::Reward => plain(Signal::Reward),
        Reads::Epoch => training_only(Signal::Epoch, Role::Plain),
        Reads::LearningRate => training_only(Signal::LearningRate, Role::Plain),
        Reads::GradientNorm => training_only(Signal::GradientNorm, Role::Plain),
        Reads::Weights => training_only(Signal::Weights, Role::Plain),
        Reads::Gradients => training_only(Signal::Gradients, Role::Plain),
        Reads::PartOfLoss if validation => Some((Signal::PartOfLoss, Role::ValidationPart)),
        Reads::PartOfLoss => plain(Signal::PartOfLoss),
        Reads::Penalty => training_only(Signal::PartOfLoss, Role::Penalty),
        Reads::GeneratorLoss => training_only(Signal::PartOfLoss, Role::Generator),
        Reads::DiscriminatorLoss => training_only(Signal::PartOfLoss, Role::Discriminator),
        Reads::PolicyLoss => training_only(Signal::PartOfLoss, Role::Policy),
        Reads::Rating => Some((Signal::Reward, Role::Rating)),
        Reads::Goal => Some((Signal::Score, Role::Goal)),
        Reads::Score => plain(Signal::Score),
        Reads::Nothing => None,
    }
}

fn matched(info: &TagInfo<'_>, rule: String, layer: Option<String>) -> Matched {
    let folder = info.folder.trim_matches('/');
    let folder = if folder == "." { "" } else { folder };
    Matched {
        folder: folder.to_owned(),
        tag: info.tag.to_owned(),
        kind: info.kind,
        layer,
        rule,
        sure: true,
        part: false,
    }
}

fn layer_of(row: &Row, text: &Text) -> Option<String> {
    let layer = row.regex.captures(text.as_str())?.name("layer")?.range();
    trimmed(text.original(layer))
}

fn trimmed(layer: &str) -> Option<String> {
    let layer = layer.trim_matches(|c: char| !c.is_alphanumeric());
    (!layer.is_empty()).then(|| layer.to_owned())
}

fn has(readings: &[Reading<'_>], signal: Signal) -> bool {
    readings.iter().any(|reading| reading.signal == signal)
}

fn learning(readings: &[Reading<'_>]) -> Learning {
    let plays = |role| readings.iter().any(|reading| reading.role == role);
    let others = [Signal::PartOfLoss, Signal::TrainAccuracy, Signal::ValidationAccuracy];
    let opposed = plays(Role::Discriminator) || !has(readings, Signal::TrainLoss);
    if plays(Role::Generator) && opposed || plays(Role::Rating) {
        Learning::Adversarial
    } else if plays(Role::Policy) || has(readings, Signal::Reward) {
        Learning::Reinforcement
    } else if has(readings, Signal::TrainLoss) || has(readings, Signal::ValidationLoss) {
        Learning::Supervised
    } else if plays(Role::Goal) && !others.iter().any(|other| has(readings, *other)) {
        Learning::Reinforcement
    } else {
        Learning::Unknown
    }
}

/// A loss that does not tell how well it goes must not be read as one that does, unless the site says that it is one.
fn demote_losses(readings: &mut [Reading<'_>]) {
    for reading in readings.iter_mut().filter(|reading| reading.role != Role::Declared) {
        if matches!(reading.signal, Signal::TrainLoss | Signal::ValidationLoss) {
            reading.signal = Signal::PartOfLoss;
        }
    }
}

/// Where no reward is logged, the goal stands for it.
fn promote_scores(readings: &mut [Reading<'_>]) {
    for reading in readings.iter_mut().filter(|reading| reading.role == Role::Goal) {
        reading.signal = Signal::Reward;
    }
}

/// Where only parts of the loss are logged (YOLO), the sum of those that were logged together stands for it, as a guess,
/// and the sum of the same parts of the validation loss with it.
fn promote_part(readings: &mut [Reading<'_>]) {
    if has(readings, Signal::TrainLoss) {
        return;
    }
    let counts = |role| !matches!(role, Role::ValidationPart | Role::Penalty);
    let of_training = |r: &&Reading<'_>| r.signal == Signal::PartOfLoss && counts(r.role);
    let most = readings.iter().filter(of_training).min_by_key(|r| (r.place.points, r.place.logged));
    let Some((folder, points)) = most.map(|part| (part.info.folder, part.info.points)) else { return };
    let beside = |r: &Reading<'_>| of_training(&r) && r.info.folder == folder && r.info.points == points;
    let measures: Vec<String> = readings.iter().filter(|r| beside(r)).map(|r| r.measure.clone()).collect();
    readings.iter_mut().filter(|r| beside(r)).for_each(|part| promote(part, Signal::TrainLoss));
    if !has(readings, Signal::ValidationLoss) {
        let twin = |r: &&mut Reading<'_>| r.role == Role::ValidationPart && measures.contains(&r.measure);
        readings.iter_mut().filter(twin).for_each(|twin| promote(twin, Signal::ValidationLoss));
    }
}

fn promote(part: &mut Reading<'_>, signal: Signal) {
    part.signal = signal;
    part.place.guessed = true;
    part.matched.sure = false;
    part.matched.part = true;
    part.matched.rule.push_str(", a part of a total that is not logged");
}

fn gather(mut readings: Vec<Reading<'_>>) -> BTreeMap<Signal, Vec<Matched>> {
    readings.sort_by_key(|reading| reading.place);
    let mut by_signal: BTreeMap<Signal, Vec<Reading<'_>>> = BTreeMap::new();
    for reading in readings {
        by_signal.entry(reading.signal).or_default().push(reading);
    }
    for (signal, readings) in &mut by_signal {
        if matches!(signal, Signal::Weights | Signal::Gradients) {
            readings.sort_by_key(|reading| reading.place.logged);
            layers::arrange(readings, |reading| reading.info.tag);
        }
    }
    let strip = |readings: Vec<Reading<'_>>| readings.into_iter().map(|reading| reading.matched).collect();
    by_signal.into_iter().map(|(signal, readings)| (signal, strip(readings))).collect()
}
