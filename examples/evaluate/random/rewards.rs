//! Policies that learn from rewards (REINFORCE, Williams 1992), with a running mean as their baseline.
//!
//! Owns: the two tasks with rewards. Must not know: why a run is wanted.

use fastrand::Rng;

use super::data::largest;
use super::fit::{Measure, Setup, Trace, Validation};
use super::layers::Block;
use super::program::{Bug, Family, Task};
use crate::trainer::layers::{Layer, Phase};
use crate::trainer::losses::softmax;
use crate::trainer::matrix::Matrix;
use crate::trainer::optimizer::{self, Optimizer};

/// Reward at the end of the corridor, and of each step.
const GOAL: (f64, f64) = (1.0, -0.02);
/// Weight of the newest mean in the baseline.
const NEWEST: f32 = 0.1;
/// Steps of a walk, for each place of the corridor.
const PATIENCE: usize = 3;

/// Whether an action of the corridor leads on.
const ON: usize = 1;

/// Trains a policy.
pub(super) fn train(setup: &Setup<'_>, policy: &mut Block, (measure, mut rng): (Measure, Rng)) -> Trace {
    let settings = &setup.settings;
    let mut optimizer = Optimizer::new(settings.optimizer);
    let (mut trace, mut baseline, mut validated) = (Trace::default(), None, 0);
    trace.validations.extend(validate(setup, policy, 0));
    for step in 0..settings.steps {
        let Some((loss, norm, reward)) = update(setup, policy, &mut optimizer, (&mut baseline, &mut rng, step)) else {
            break;
        };
        if measure.steps {
            trace.losses.push(loss);
            trace.norms.push(norm);
            trace.rewards.push(reward);
            trace.rates.push((settings.learning_rate * settings.schedule.factor(step, settings.steps)) as f32);
        }
        let due = (step + 1) * measure.validations / settings.steps;
        if due > validated {
            validated = due;
            trace.validations.extend(validate(setup, policy, step + 1));
        }
    }
    trace
}

/// One update; gives the loss, the norm of the gradient and the mean reward; none if the policy is not finite.
fn update(
    setup: &Setup<'_>,
    policy: &mut Block,
    optimizer: &mut Optimizer,
    (baseline, rng, step): (&mut Option<f32>, &mut Rng, usize),
) -> Option<(f32, f32, f32)> {
    let settings = &setup.settings;
    let episodes = settings.batch_size;
    let (states, rows) = match setup.task.family {
        Family::Corridor => (places(setup.task.inputs), None),
        _ => {
            let rows: Vec<usize> = (0..episodes).map(|_| rng.usize(0..setup.data.train.x.rows)).collect();
            (setup.data.train.x.pick(&rows), Some(rows))
        }
    };
    let odds = softmax(&policy.forward(seen(setup, states), Phase::Training).ok()?);
    if odds.values.iter().any(|p| !p.is_finite()) {
        return None;
    }
    let mut moments = match rows {
        None => walks(setup.task, &odds, (episodes, rng)),
        Some(rows) => rows
            .iter()
            .enumerate()
            .map(|(row, example)| {
                let action = choose(&odds.values[row * odds.width..][..odds.width], rng);
                let reward = setup.data.train.y.values[example * odds.width + action];
                Moment { row, action, to_come: reward, whole: Some(reward) }
            })
            .collect(),
    };
    if setup.bugs.contains(&Bug::ShuffledLabels) {
        let mut rewards: Vec<f32> = moments.iter().map(|moment| moment.to_come).collect();
        rng.shuffle(&mut rewards);
        moments.iter_mut().zip(rewards).for_each(|(moment, reward)| moment.to_come = reward);
    }
    let wholes: Vec<f32> = moments.iter().filter_map(|moment| moment.whole).collect();
    let reward = wholes.iter().sum::<f32>() / wholes.len().max(1) as f32;
    let mean = moments.iter().map(|moment| moment.to_come).sum::<f32>() / moments.len() as f32;
    let expected = *baseline.get_or_insert(mean);
    *baseline = Some(expected + NEWEST * (mean - expected));
    let share = if setup.bugs.contains(&Bug::SumLoss) { 1.0 } else { 1.0 / moments.len() as f32 };
    let mut gradient = Matrix::zeros(odds.rows, odds.width);
    let mut loss = 0.0;
    for moment in &moments {
        let better = share * (moment.to_come - expected);
        let row = &odds.values[moment.row * odds.width..][..odds.width];
        loss -= better * row[moment.action].max(1e-9).ln();
        for (action, p) in row.iter().enumerate() {
            let slope = better * (p - f32::from(u8::from(action == moment.action)));
            gradient.values[moment.row * odds.width + action] += slope;
        }
    }
    policy.backward(gradient);
    let mut parameters = policy.parameters();
    let norm = optimizer::gradient_norm(&parameters);
    let rate = settings.learning_rate * settings.schedule.factor(step, settings.steps);
    setup.update(optimizer, &mut parameters, (norm, rate as f32));
    Some((loss, norm, reward))
}

/// One choice: where, what, the reward that followed; and that of the whole walk, at its first choice.
struct Moment {
    row: usize,
    action: usize,
    to_come: f32,
    whole: Option<f32>,
}

/// Each place of the corridor as a row.
fn places(count: usize) -> Matrix {
    let mut rows = Matrix::zeros(count, count);
    (0..count).for_each(|place| rows.values[place * count + place] = 1.0);
    rows
}

/// States as the network sees them.
fn seen(setup: &Setup<'_>, mut states: Matrix) -> Matrix {
    if setup.bugs.contains(&Bug::ZeroInputs) {
        states.values.fill(0.0);
    }
    states
}

fn choose(odds: &[f32], rng: &mut Rng) -> usize {
    let mut place = rng.f32();
    let chosen = odds.iter().position(|p| {
        place -= p;
        place <= 0.0
    });
    chosen.unwrap_or_else(|| largest(odds))
}

/// Walks along the corridor by the odds of each place.
fn walks(task: &Task, odds: &Matrix, (episodes, rng): (usize, &mut Rng)) -> Vec<Moment> {
    let mut moments = Vec::new();
    for _ in 0..episodes {
        let (begin, mut place) = (moments.len(), 0);
        let mut rewards = Vec::new();
        for _ in 0..PATIENCE * task.inputs {
            let action = choose(&odds.values[place * odds.width..][..odds.width], rng);
            moments.push(Moment { row: place, action, to_come: 0.0, whole: None });
            place = moved(place, action);
            if place + 1 == task.inputs {
                rewards.push(GOAL.0 as f32);
                break;
            }
            rewards.push(GOAL.1 as f32);
        }
        let mut to_come = 0.0;
        for (moment, reward) in moments[begin..].iter_mut().zip(&rewards).rev() {
            to_come = reward + 0.97 * to_come;
            moment.to_come = to_come;
        }
        moments[begin].whole = Some(rewards.iter().sum());
    }
    moments
}

fn moved(place: usize, action: usize) -> usize {
    if action == ON { place + 1 } else { place.saturating_sub(1) }
}

/// Minus the reward that the policy earns, exactly.
fn validate(setup: &Setup<'_>, policy: &mut Block, step: usize) -> Option<Validation> {
    let corridor = setup.task.family == Family::Corridor;
    let states = if corridor { places(setup.task.inputs) } else { setup.data.validation.x.clone() };
    let odds = softmax(&policy.forward(seen(setup, states), Phase::Evaluation).ok()?);
    let truth = -expected(setup, &odds);
    Some(Validation { step, loss: truth as f32, accuracy: 0.0, truth })
}

/// The expected reward of a policy that chooses by these odds.
pub(super) fn expected(setup: &Setup<'_>, odds: &Matrix) -> f64 {
    if setup.task.family != Family::Corridor {
        let earned = odds.values.iter().zip(&setup.data.clean.values).map(|(p, r)| f64::from(*p) * f64::from(*r));
        return earned.sum::<f64>() / odds.rows as f64;
    }
    let count = setup.task.inputs;
    let mut shares = vec![0.0; count];
    shares[0] = 1.0;
    let mut earned = 0.0;
    for _ in 0..PATIENCE * count {
        let mut next = vec![0.0; count];
        for (place, share) in shares.iter().enumerate().take(count - 1) {
            for action in 0..odds.width {
                let to = moved(place, action);
                let likely = share * f64::from(odds.values[place * odds.width + action]);
                next[to] += likely;
                earned += likely * if to + 1 == count { GOAL.0 } else { GOAL.1 };
            }
        }
        next[count - 1] = 0.0;
        shares = next;
    }
    earned
}
