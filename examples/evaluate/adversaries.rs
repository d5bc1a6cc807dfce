//! A generator of points on a ring against a discriminator: two losses that hover while the points get better.
//!
//! Owns: this one training program. Must not know: cases other than its own.

use std::f32::consts::TAU;

use fastrand::Rng;

use crate::cases::Habits;
use crate::record::Summary;
use crate::trainer::TrainingError;
use crate::trainer::knobs::{Activation, Initializer, Knobs};
use crate::trainer::layers::Phase;
use crate::trainer::log::RunLog;
use crate::trainer::matrix::Matrix;
use crate::trainer::network::{Builder, Network, normal};
use crate::trainer::optimizer::Optimizer;

/// Numbers that the generator makes a point of.
const LATENT: usize = 4;

/// Of the generator's loss and of the discriminator's, as different programs call them.
pub(crate) fn tags(habits: Habits) -> [&'static str; 2] {
    match habits {
        Habits::Lightning => ["g_loss", "d_loss"],
        _ => ["generator_loss", "discriminator_loss"],
    }
}

fn network(knobs: &Knobs, rng: &mut Rng, [inputs, outputs]: [usize; 2]) -> Network {
    let knobs = Knobs { activation: Activation::LeakyRelu, initializer: Initializer::VarianceScaling, ..knobs.clone() };
    let builder = Builder::new(&knobs, rng).dense(inputs, 48).activation(Activation::LeakyRelu);
    builder.dense(48, 48).activation(Activation::LeakyRelu).dense(48, outputs).build()
}

/// Trains both and logs their losses.
///
/// # Errors
/// When a network cannot take a batch.
pub(crate) fn train(habits: Habits, knobs: &Knobs, log: &mut RunLog) -> Result<Summary, TrainingError> {
    let mut rng = Rng::with_seed(knobs.seed);
    let mut generator = network(knobs, &mut rng, [LATENT, 2]);
    let mut critic = network(knobs, &mut rng, [2, 1]);
    let (mut of_generator, mut of_critic) = (Optimizer::new(knobs.optimizer), Optimizer::new(knobs.optimizer));
    let rate = knobs.learning_rate as f32;
    let tags = tags(habits);
    let (mut summary, mut errors) = (Summary { trivial: 2f32.ln(), ..Summary::default() }, Vec::new());
    for step in 0..knobs.max_steps {
        let latent = Matrix::from_values(LATENT, (0..knobs.batch_size * LATENT).map(|_| normal(&mut rng)).collect());
        let points = generator.forward(latent, Phase::Training)?;
        errors.push(distance_from_ring(&points));
        let mut critic_loss = 0.0;
        for (batch, real) in [(ring(&mut rng, knobs.batch_size), true), (points.clone(), false)] {
            let (loss, gradient) = judged(&critic.forward(batch, Phase::Training)?, real);
            critic.backward(gradient);
            of_critic.step(&mut critic.parameters(), rate);
            critic_loss += loss;
        }
        let (loss, gradient) = judged(&critic.forward(points, Phase::Training)?, true);
        generator.backward(critic.backward(gradient));
        of_generator.step(&mut generator.parameters(), rate);
        log.scalar(tags[0], step, loss);
        log.scalar(tags[1], step, critic_loss);
        log.scalar("learning_rate", step, rate);
        summary.losses.push(loss);
    }
    let tenth = (errors.len() / 10).max(1);
    summary.improved = mean(&errors[errors.len() - tenth..]) / mean(&errors[..tenth]);
    Ok(summary)
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

/// Points near the unit circle.
fn ring(rng: &mut Rng, count: usize) -> Matrix {
    let mut point = || {
        let (y, x) = (TAU * rng.f32()).sin_cos();
        [x, y].map(|part| part + 0.05 * normal(rng))
    };
    Matrix::from_values(2, (0..count).flat_map(|_| point()).collect())
}

fn distance_from_ring(points: &Matrix) -> f32 {
    mean(&points.iter().map(|point| (point[0].hypot(point[1]) - 1.0).abs()).collect::<Vec<_>>())
}

/// Mean of softplus(-s) for scores that should be high, of softplus(s) for scores that should be low.
fn judged(scores: &Matrix, high: bool) -> (f32, Matrix) {
    let sign = if high { -1.0 } else { 1.0 };
    let share = 1.0 / scores.rows as f32;
    let mut gradient = scores.clone();
    let mut sum = 0.0;
    for score in &mut gradient.values {
        let z = sign * *score;
        sum += z.max(0.0) + (-z.abs()).exp().ln_1p();
        *score = share * sign / (1.0 + (-z).exp());
    }
    (share * sum, gradient)
}
