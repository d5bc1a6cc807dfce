//! A walk along a corridor, learned from its reward (REINFORCE, Williams 1992): the reward rises, the losses need not
//! fall.
//!
//! Owns: this one training program. Must not know: cases other than its own.

use fastrand::Rng;

use crate::cases::Habits;
use crate::record::Summary;
use crate::trainer::TrainingError;
use crate::trainer::knobs::{Activation, Knobs};
use crate::trainer::layers::Phase;
use crate::trainer::log::RunLog;
use crate::trainer::losses::{loss, softmax};
use crate::trainer::matrix::Matrix;
use crate::trainer::network::{Builder, Network};
use crate::trainer::optimizer::Optimizer;

/// Places of the corridor. A walk begins at the first; the last has the reward.
const PLACES: usize = 9;
/// Steps after which a walk ends.
const HORIZON: usize = 24;
/// Reward of the last place.
const REWARD: f32 = 10.0;
/// Cost of a step.
const COST: f32 = 0.2;
/// How much a reward counts that comes one step later.
const DISCOUNT: f32 = 0.97;

/// Reward, loss of the policy, loss of the values, their sum, and the learning rate, as Stable-Baselines3 or as CleanRL
/// call them.
pub(crate) fn tags(habits: Habits) -> [&'static str; 5] {
    match habits {
        Habits::Lightning => [
            "charts/episodic_return",
            "losses/policy_loss",
            "losses/value_loss",
            "losses/total_loss",
            "charts/learning_rate",
        ],
        _ => [
            "rollout/ep_rew_mean",
            "train/policy_gradient_loss",
            "train/value_loss",
            "train/loss",
            "train/learning_rate",
        ],
    }
}

/// One moment of one walk.
struct Moment {
    place: usize,
    right: bool,
    to_come: f32,
}

/// Trains the policy and the value of each place.
///
/// # Errors
/// When a network cannot take a batch.
pub(crate) fn train(habits: Habits, knobs: &Knobs, log: &mut RunLog) -> Result<Summary, TrainingError> {
    let mut rng = Rng::with_seed(knobs.seed);
    let knobs = Knobs { activation: Activation::Tanh, ..knobs.clone() };
    let mut network = |outputs| {
        Builder::new(&knobs, &mut rng).dense(PLACES, 32).activation(Activation::Tanh).dense(32, outputs).build()
    };
    let (mut policy, mut value) = (network(2), network(1));
    let (mut of_policy, mut of_value) = (Optimizer::new(knobs.optimizer), Optimizer::new(knobs.optimizer));
    let rate = knobs.learning_rate as f32;
    let tags = tags(habits);
    let (mut summary, mut rewards) = (Summary::default(), Vec::new());
    for step in 0..knobs.max_steps {
        let (moments, reward) = walks(&mut policy, knobs.batch_size, &mut rng)?;
        let places = seen(&moments);
        let expected = value.forward(places.clone(), Phase::Training)?;
        let returns = Matrix::from_values(1, moments.iter().map(|moment| moment.to_come).collect());
        let (value_loss, gradient) = loss(crate::trainer::knobs::LossKind::L2, &expected, &returns);
        value.backward(gradient);
        of_value.step(&mut value.parameters(), rate);
        let advantages: Vec<f32> =
            returns.values.iter().zip(&expected.values).map(|(got, hoped)| got - hoped).collect();
        let (policy_loss, gradient) = reinforced(&policy.forward(places, Phase::Training)?, &moments, &advantages);
        policy.backward(gradient);
        of_policy.step(&mut policy.parameters(), rate);
        let total = policy_loss + 0.5 * value_loss;
        tags.iter()
            .zip([reward, policy_loss, value_loss, total, rate])
            .for_each(|(tag, value)| log.scalar(tag, step * knobs.batch_size * HORIZON, value));
        summary.losses.push(total);
        rewards.push(reward);
    }
    let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
    let tenth = (rewards.len() / 10).max(1);
    // Rewards may be negative: what counts is the gain, as a share of the largest reward.
    summary.improved = (mean(&rewards[rewards.len() - tenth..]) - mean(&rewards[..tenth])) / REWARD;
    Ok(summary)
}

/// Walks by the policy, and the mean reward of a walk.
fn walks(policy: &mut Network, count: usize, rng: &mut Rng) -> Result<(Vec<Moment>, f32), TrainingError> {
    let everywhere = (0..PLACES).map(|place| Moment { place, right: false, to_come: 0.0 }).collect::<Vec<_>>();
    let chances = softmax(&policy.forward(seen(&everywhere), Phase::Training)?);
    let (mut moments, mut total) = (Vec::new(), 0.0);
    for _ in 0..count {
        let (begin, mut place) = (moments.len(), 0usize);
        while moments.len() - begin < HORIZON && place + 1 < PLACES {
            let right = rng.f32() < chances.values[2 * place + 1];
            // One step in ten slips.
            let goes_right = right != (rng.f32() < 0.1);
            let next = if goes_right { place + 1 } else { place.saturating_sub(1) };
            let reward = if next + 1 == PLACES { REWARD - COST } else { -COST };
            moments.push(Moment { place, right, to_come: reward });
            total += reward;
            place = next;
        }
        let mut to_come = 0.0;
        for moment in moments[begin..].iter_mut().rev() {
            to_come = moment.to_come + DISCOUNT * to_come;
            moment.to_come = to_come;
        }
    }
    Ok((moments, total / count as f32))
}

/// Places as inputs: one column a place.
fn seen(moments: &[Moment]) -> Matrix {
    let mut places = Matrix::zeros(moments.len(), PLACES);
    places.iter_mut().zip(moments).for_each(|(row, moment)| row[moment.place] = 1.0);
    places
}

/// -mean(advantage x log chance of what was done), and its gradient.
fn reinforced(logits: &Matrix, moments: &[Moment], advantages: &[f32]) -> (f32, Matrix) {
    let share = 1.0 / logits.rows as f32;
    let mut gradient = softmax(logits);
    let mut sum = 0.0;
    for ((row, moment), advantage) in gradient.iter_mut().zip(moments).zip(advantages) {
        let done = usize::from(moment.right);
        sum -= advantage * row[done].max(f32::MIN_POSITIVE).ln();
        row[done] -= 1.0;
        row.iter_mut().for_each(|slope| *slope *= share * advantage);
    }
    (share * sum, gradient)
}
