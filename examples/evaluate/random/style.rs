//! How random programs log: which numbers, how often, under which framework's names.
//!
//! Owns: tags, rhythm, and the way from the numbers of every step to what is logged. Must not know: labels.

use fastrand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::draw::{chance, pick};
use super::fit::{Trace, Validation};
use super::frameworks::Framework;
use super::program::{Norm, Program, Schedule, Settings, Task};
use super::record::{Places, Run, Series};

/// When training is logged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rhythm {
    /// Every so many steps, the value of that step.
    Every(usize),
    /// Every so many steps, the mean of the steps since.
    Means(usize),
    /// After each epoch, its mean.
    Epochs,
}

/// How a program logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Style {
    /// Names.
    pub(crate) framework: Framework,
    /// Rhythm of training.
    pub(crate) rhythm: Rhythm,
    /// Weight of the past in a running mean that is logged in place of the loss; 0 = none.
    pub(crate) smoothing: f64,
    /// Validations that are logged.
    pub(crate) validations: usize,
    /// Whether an accuracy is logged, be it of a regression.
    pub(crate) accuracy: bool,
    /// Whether the learning rate is logged.
    pub(crate) rate: bool,
    /// Whether the gradient norm is logged.
    pub(crate) norm: bool,
    /// Whether settings are logged.
    pub(crate) settings: bool,
    /// Whether those that people seldom log are logged too.
    pub(crate) all_settings: bool,
    /// Whether the step is counted in epochs.
    pub(crate) by_epochs: bool,
    /// Number of the first step or epoch.
    pub(crate) first: usize,
    /// Seconds a step.
    pub(crate) seconds: f64,
}

/// Where validation is not logged it is measured so often all the same, for the label.
const MEASURED: usize = 20;

impl Style {
    /// How often the program's own run is validated.
    pub(crate) fn measured(&self) -> usize {
        if self.validations == 0 { MEASURED } else { self.validations }
    }
}

/// Draws a style.
pub(super) fn draw(task: &Task, settings: &Settings, rng: &mut Rng) -> Style {
    let supervised = [
        (Framework::Slashes, 13.0),
        (Framework::Words, 12.0),
        (Framework::Short, 10.0),
        (Framework::Keras, 15.0),
        (Framework::Lightning, 12.0),
        (Framework::Trainer, 10.0),
        (Framework::Megatron, 4.0),
        (Framework::Composer, 4.0),
        (Framework::Estimator, 6.0),
        (Framework::Mmengine, 6.0),
        (Framework::Fairseq, 5.0),
        (Framework::Detectron, 3.0),
    ];
    let rewarded = [(Framework::StableBaselines, 5.0), (Framework::CleanRl, 3.0), (Framework::Rllib, 2.0)];
    let rewards = task.family.rewards();
    let framework = pick(rng, if rewards { &rewarded } else { &supervised });
    let keras = framework == Framework::Keras;
    let points = (4.0 * 500f64.powf(rng.f64())).min(settings.steps as f64);
    let every = (settings.steps as f64 / points).max(1.0) as usize;
    let own = [(Rhythm::Every(every), 3.0), (Rhythm::Means(every), 3.0), (Rhythm::Every(1), 2.0)];
    let epochs = [(Rhythm::Epochs, 12.0), own[0], own[1], own[2]];
    let rhythm = match settings.epochs {
        Some(_) if keras => Rhythm::Epochs,
        // Keras without an end in epochs: they have a fixed number of steps.
        None if keras => Rhythm::Means(every.max(settings.steps.div_ceil(200))),
        Some(_) => pick(rng, &epochs),
        None => pick(rng, &own),
    };
    let validated = match settings.epochs {
        Some(epochs) if chance(rng, 0.8) => epochs,
        _ => pick(rng, &[(3, 1.0), (5, 2.0), (10, 3.0), (20, 3.0), (40, 1.0)]).min(settings.steps),
    };
    let validated = match rhythm {
        Rhythm::Means(every) if keras => settings.steps.div_ceil(every),
        _ => validated,
    };
    let accuracy = if task.family.classes() { chance(rng, 0.7) } else { chance(rng, 0.12) };
    Style {
        framework,
        rhythm,
        smoothing: pick(rng, &[(0.0, 90.0), (0.9, 6.0), (0.98, 4.0)]),
        validations: if !rewards && chance(rng, 0.68) { validated } else { 0 },
        accuracy: accuracy && !rewards,
        rate: chance(rng, 0.45),
        norm: chance(rng, 0.25),
        settings: rng.bool(),
        all_settings: rng.bool(),
        by_epochs: keras || (rhythm == Rhythm::Epochs && chance(rng, 0.7)),
        first: rng.usize(0..2),
        seconds: 0.01 * 200f64.powf(rng.f64()),
    }
}

/// What a program logs of its run.
pub(super) fn logged(program: &Program, trace: &Trace) -> Vec<Run> {
    let style = &program.style;
    let tags = style.framework.tags();
    let clock = Clock::new(program);
    let mut training = Run { folder: tags.folders[0].to_owned(), ..Run::default() };
    let mut validation = Run { folder: tags.folders[1].to_owned(), ..Run::default() };
    let unit = if tags.bits { std::f32::consts::LN_2 } else { 1.0 };
    let losses: Vec<f32> = trace.losses.iter().map(|loss| loss / unit).collect();
    let means = clock.points(&smoothed(&losses, style.smoothing));
    training.add(tags.loss[0], &clock, &means);
    if style.accuracy {
        training.add(tags.accuracy[0], &clock, &clock.points(&trace.accuracies));
    }
    if style.norm {
        training.add(tags.norm, &clock, &clock.instants(&trace.norms));
    }
    if style.rate {
        training.add(tags.rate, &clock, &clock.instants(&trace.rates));
    }
    training.add(tags.reward, &clock, &clock.points(&over_episodes(&trace.rewards, program.settings.batch_size)));
    if let (false, Some(epochs)) = (tags.epoch.is_empty(), program.settings.epochs) {
        let per_step = epochs as f32 / program.settings.steps as f32;
        let done: Vec<f32> = (0..trace.losses.len()).map(|step| (step + 1) as f32 * per_step).collect();
        let fractions = style.framework == Framework::Trainer;
        let shown: Vec<f32> = done.iter().map(|done| if fractions { *done } else { (done - 1e-3).floor() }).collect();
        training.add(tags.epoch, &clock, &clock.instants(&shown));
    }
    let logged = if style.validations == 0 { &[] } else { trace.validations.get(1..).unwrap_or_default() };
    let of = |number: fn(&Validation) -> f32| -> Vec<(usize, f32)> {
        logged.iter().map(|validation| (validation.step - 1, number(validation))).collect()
    };
    let losses: Vec<_> = of(|v| v.loss).into_iter().map(|(step, loss)| (step, loss / unit)).collect();
    validation.add(tags.loss[1], &clock, &losses);
    if style.accuracy {
        validation.add(tags.accuracy[1], &clock, &of(|v| v.accuracy));
    }
    if style.settings {
        training.hyperparameters = hyperparameters(program);
    }
    if training.folder == validation.folder {
        training.series.append(&mut validation.series);
    }
    [training, validation].into_iter().filter(|run| !run.series.is_empty()).collect()
}

impl Run {
    fn add(&mut self, tag: &str, clock: &Clock, points: &[(usize, f32)]) {
        if tag.is_empty() || points.is_empty() {
            return;
        }
        let at: Vec<i64> = points.iter().map(|(step, _)| *step as i64 + 1).collect();
        let steps: Vec<i64> = points.iter().map(|(step, _)| clock.shown(*step)).collect();
        let values = points.iter().map(|(_, value)| *value).collect();
        self.series.push(Series { tag: tag.to_owned(), steps: Places::of(&steps), at: Places::of(&at), values });
    }
}

/// When a program logs, and which number it gives a step.
struct Clock {
    rhythm: Rhythm,
    in_epoch: usize,
    by_epochs: bool,
    first: usize,
    /// What one step counts.
    unit: usize,
}

impl Clock {
    fn new(program: &Program) -> Clock {
        let (style, settings) = (&program.style, &program.settings);
        let in_epoch = match (settings.epochs, style.rhythm) {
            (Some(epochs), _) => settings.steps.div_ceil(epochs),
            (None, Rhythm::Means(every)) => every,
            (None, _) => settings.steps,
        };
        // Those who learn from rewards count what happens in their world.
        let unit = if program.task.family.rewards() { settings.batch_size } else { 1 };
        Clock { rhythm: style.rhythm, in_epoch, by_epochs: style.by_epochs, first: style.first, unit }
    }

    /// Steps between two points.
    fn every(&self) -> usize {
        match self.rhythm {
            Rhythm::Every(every) | Rhythm::Means(every) => every,
            Rhythm::Epochs => self.in_epoch,
        }
    }

    /// What is logged of a number that each step has.
    fn points(&self, values: &[f32]) -> Vec<(usize, f32)> {
        if let Rhythm::Every(_) = self.rhythm {
            return self.instants(values);
        }
        let chunks = values.chunks_exact(self.every()).enumerate();
        let mean = |chunk: &[f32]| chunk.iter().sum::<f32>() / chunk.len() as f32;
        chunks.map(|(place, chunk)| ((place + 1) * self.every() - 1, mean(chunk))).collect()
    }

    /// What is logged of a number that has no mean.
    fn instants(&self, values: &[f32]) -> Vec<(usize, f32)> {
        let every = self.every();
        // Who logs every so many steps begins with the first one.
        let first = if matches!(self.rhythm, Rhythm::Every(_)) { 0 } else { every - 1 };
        values.iter().copied().enumerate().skip(first).step_by(every).collect()
    }

    /// The number of a step in the log.
    fn shown(&self, step: usize) -> i64 {
        let number = if self.by_epochs { ((step + 1) / self.in_epoch.max(1)).saturating_sub(1) } else { step };
        ((number + self.first) * self.unit) as i64
    }
}

/// A running mean, corrected for its start.
fn smoothed(values: &[f32], past: f64) -> Vec<f32> {
    if past == 0.0 {
        return values.to_vec();
    }
    let (mut sum, mut weight) = (0.0, 0.0);
    let running = values.iter().map(|value| {
        sum = past * sum + (1.0 - past) * f64::from(*value);
        weight = past * weight + (1.0 - past);
        (sum / weight) as f32
    });
    running.collect()
}

/// Libraries log the mean reward of so many of the newest episodes.
const EPISODES: usize = 100;

fn over_episodes(rewards: &[f32], episodes: usize) -> Vec<f32> {
    let window = (EPISODES / episodes).max(1);
    (0..rewards.len())
        .map(|step| {
            let newest = &rewards[(step + 1).saturating_sub(window)..=step];
            newest.iter().sum::<f32>() / newest.len() as f32
        })
        .collect()
}

/// The settings as programs name them; `Trainer` has its own names.
fn hyperparameters(program: &Program) -> Map<String, Value> {
    let (settings, style) = (&program.settings, &program.style);
    let names = match style.framework {
        Framework::Trainer => {
            ["learning_rate", "per_device_train_batch_size", "num_train_epochs", "max_steps", "optim", "max_grad_norm"]
        }
        Framework::Keras => ["learning_rate", "batch_size", "epochs", "steps", "optimizer", "clipnorm"],
        _ => ["lr", "batch_size", "epochs", "max_steps", "optimizer", "gradient_clip"],
    };
    let mut map = Map::new();
    let mut add = |name: &str, value: Value| map.insert(name.to_owned(), value);
    add(names[0], json!(settings.learning_rate));
    add(names[1], json!(settings.batch_size));
    match settings.epochs {
        Some(epochs) => add(names[2], json!(epochs)),
        None => add(names[3], json!(settings.steps)),
    };
    add(names[4], json!(settings.optimizer));
    if style.all_settings {
        add("activation", json!(settings.activation));
        add("initializer", json!(settings.initializer));
        add("batch_norm", json!(settings.norm == Norm::Batch));
        add("normalize_inputs", json!(settings.normalize_inputs));
        add("loss", json!(settings.loss));
        add("weight_decay", json!(settings.weight_decay));
        add("dropout", json!(settings.dropout));
        if let Some(clip) = settings.gradient_clip {
            add(names[5], json!(clip));
        }
        match settings.schedule {
            Schedule::Exponential(factor) => drop(add("lr_decay", json!(factor))),
            Schedule::Constant => drop(add("lr_decay", json!(1.0))),
            _ => {}
        }
        if program.task.trained_before.is_some() {
            add("pretrained", json!("checkpoints/last.ckpt"));
        }
    }
    map
}
