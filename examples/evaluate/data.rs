//! Synthetic data sets.
//!
//! Owns: where examples come from. Must not know: networks, faults.

use std::f32::consts::{PI, TAU};

use fastrand::Rng;

use crate::cases::Data;
use crate::trainer::matrix::Matrix;
use crate::trainer::network::normal;
use crate::trainer::training::Examples;

/// Seed of the data, which stay the same whatever the seed of a run.
const SEED: u64 = 4711;
/// Pixels from top to bottom and from left to right.
pub(crate) const SIDE: usize = 8;
/// Different characters of the text.
const ALPHABET: usize = 16;
/// Characters that are seen before the one that is to be told.
const CONTEXT: usize = 4;

/// Training and validation examples of a task.
pub(crate) struct DataSet {
    /// To learn from.
    pub(crate) training: Examples,
    /// To be judged by.
    pub(crate) validation: Examples,
    /// Whether targets are classes.
    pub(crate) classes: bool,
}

/// The examples of a task.
pub(crate) fn data_set(data: Data) -> DataSet {
    let mut rng = Rng::with_seed(SEED);
    let rng = &mut rng;
    let (count, classes, rows) = match data {
        Data::Clusters => (600, true, clusters(rng, 800)),
        Data::ClustersInMixedUnits => (600, true, in_mixed_units(clusters(rng, 800))),
        Data::Spirals => (600, true, spirals(rng, 800)),
        Data::Waves => (800, false, waves(rng, 1000, 0.0)),
        Data::WavesBelowZero => (800, false, waves(rng, 1000, -4.0)),
        Data::Noise => (2000, false, noise(rng, 2400)),
        Data::Stripes => (400, true, stripes(rng, 520)),
        Data::Autoencoder => (500, false, blobs(rng, 620)),
        Data::Characters => (2000, true, characters(rng, 2400)),
        Data::Parity => (3000, true, parity(rng, 3400)),
        Data::Likelihood => (2000, false, waves(rng, 2400, 0.0)),
        Data::HeavyTails => (1500, false, heavy_tails(rng, 1800, 0.0)),
        Data::HeavyTailsFarFromZero => (1500, false, heavy_tails(rng, 1800, 30.0)),
        Data::Signals => (900, true, signals(rng, 1200)),
        Data::SignalsInCounts => (900, true, in_counts(signals(rng, 1200))),
        Data::Denoising => (900, false, denoising(rng, 1200)),
        Data::Markov => (3000, true, markov(rng, 3600)),
        Data::ManyOutputs => (1200, false, many_outputs(rng, 1500)),
        Data::Imbalanced => (1600, true, imbalanced(rng, 2200)),
        // What is learned are distances: the classes are no target of their own.
        Data::Identities => (700, false, identities(rng, 900)),
        Data::Counts => (1200, false, counts(rng, 1500)),
        // These make their own data as they go.
        Data::Adversaries | Data::Corridor => (1, false, vec![(vec![0.0], vec![0.0]); 2]),
    };
    DataSet { training: examples(&rows[..count]), validation: examples(&rows[count..]), classes }
}

type Row = (Vec<f32>, Vec<f32>);

fn examples(rows: &[Row]) -> Examples {
    let column = |pick: fn(&Row) -> &Vec<f32>| {
        Matrix::from_values(pick(&rows[0]).len(), rows.iter().flat_map(pick).copied().collect())
    };
    Examples { x: column(|row| &row.0), y: column(|row| &row.1) }
}

fn class(number: usize, of: usize) -> Vec<f32> {
    (0..of).map(|place| f32::from(u8::from(place == number))).collect()
}

fn clusters(rng: &mut Rng, count: usize) -> Vec<Row> {
    let centers: Vec<Vec<f32>> = (0..5).map(|_| (0..10).map(|_| 1.3 * normal(rng)).collect()).collect();
    let mut row = || {
        let which = rng.usize(..centers.len());
        (centers[which].iter().map(|c| c + normal(rng)).collect(), class(which, centers.len()))
    };
    (0..count).map(|_| row()).collect()
}

/// Each feature in units of its own, from ones to thousands, and away from zero.
fn in_mixed_units(mut rows: Vec<Row>) -> Vec<Row> {
    for (x, _) in &mut rows {
        for (place, value) in x.iter_mut().enumerate() {
            *value = (*value + 20.0) * 10f32.powf(place as f32 / 3.0);
        }
    }
    rows
}

fn spirals(rng: &mut Rng, count: usize) -> Vec<Row> {
    let mut row = || {
        let (arm, along) = (rng.usize(..3), rng.f32().sqrt());
        let angle = 4.5 * along + TAU * arm as f32 / 3.0;
        let point = [angle.cos(), angle.sin()].map(|part| along * part + 0.02 * normal(rng));
        (point.to_vec(), class(arm, 3))
    };
    (0..count).map(|_| row()).collect()
}

fn waves(rng: &mut Rng, count: usize, shift: f32) -> Vec<Row> {
    let mut row = || {
        let x: Vec<f32> = (0..6).map(|_| 4.0 * rng.f32() - 2.0).collect();
        let y = (2.0 * x[0]).sin() * x[1] + 0.4 * x[2] * x[2] - 0.5 * x[3] - 0.5 + 0.05 * normal(rng);
        (x, vec![y + shift])
    };
    (0..count).map(|_| row()).collect()
}

fn noise(rng: &mut Rng, count: usize) -> Vec<Row> {
    let slopes: Vec<f32> = (0..10).map(|_| normal(rng) / 3.0).collect();
    let mut row = || {
        let x: Vec<f32> = (0..10).map(|_| normal(rng)).collect();
        let y = x.iter().zip(&slopes).map(|(x, slope)| x * slope).sum::<f32>() + normal(rng);
        (x, vec![y])
    };
    (0..count).map(|_| row()).collect()
}

fn stripes(rng: &mut Rng, count: usize) -> Vec<Row> {
    let mut row = || {
        let (which, phase) = (rng.usize(..4), TAU * rng.f32());
        let (down, across) = (PI * which as f32 / 4.0).sin_cos();
        let pixel =
            |place: usize| (1.6 * (down * (place / SIDE) as f32 + across * (place % SIDE) as f32) + phase).sin();
        ((0..SIDE * SIDE).map(|place| pixel(place) + 0.4 * normal(rng)).collect(), class(which, 4))
    };
    (0..count).map(|_| row()).collect()
}

fn blobs(rng: &mut Rng, count: usize) -> Vec<Row> {
    let mut row = || {
        let centers: [[f32; 2]; 2] = std::array::from_fn(|_| std::array::from_fn(|_| rng.f32() * (SIDE - 1) as f32));
        let pixel = |place: usize| {
            let (y, x) = ((place / SIDE) as f32, (place % SIDE) as f32);
            let near = |[cy, cx]: [f32; 2]| (-((y - cy).powi(2) + (x - cx).powi(2)) / 4.0).exp();
            centers.iter().map(|center| near(*center)).sum::<f32>().min(1.0)
        };
        let picture: Vec<f32> = (0..SIDE * SIDE).map(pixel).collect();
        (picture.clone(), picture)
    };
    (0..count).map(|_| row()).collect()
}

/// A text in which two characters nearly tell the next, and what comes before each of its characters.
fn characters(rng: &mut Rng, count: usize) -> Vec<Row> {
    let likely: Vec<usize> = (0..ALPHABET * ALPHABET).map(|_| rng.usize(..ALPHABET)).collect();
    let mut text = vec![0, 1];
    while text.len() < count + CONTEXT {
        let pair = text[text.len() - 2] * ALPHABET + text[text.len() - 1];
        text.push(if rng.f32() < 0.85 { likely[pair] } else { rng.usize(..ALPHABET) });
    }
    let row = |window: &[usize]| {
        let seen = window[..CONTEXT].iter().flat_map(|&character| class(character, ALPHABET)).collect();
        (seen, class(window[CONTEXT], ALPHABET))
    };
    text.windows(CONTEXT + 1).map(row).collect()
}

fn parity(rng: &mut Rng, count: usize) -> Vec<Row> {
    let mut row = || {
        let bits: Vec<bool> = (0..20).map(|_| rng.bool()).collect();
        let odd = bits[..3].iter().filter(|bit| **bit).count() % 2;
        (bits.iter().map(|bit| if *bit { 1.0 } else { -1.0 }).collect(), class(odd, 2))
    };
    (0..count).map(|_| row()).collect()
}

/// Inputs of so many normal numbers each.
fn normals(rng: &mut Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| normal(rng)).collect()
}

fn heavy_tails(rng: &mut Rng, count: usize, shift: f32) -> Vec<Row> {
    let mut row = || {
        let x = normals(rng, 8);
        // A normal number over the root of a chi-squared one with two degrees of freedom, halved.
        let tail = normal(rng) / (-(1.0 - rng.f32()).ln()).sqrt().max(1e-3);
        let y = 3.0 * x[0].sin() + x[1] * x[2] + 2.0 * x[3].abs() - 1.6 + 0.25 * tail;
        (x, vec![y + shift])
    };
    (0..count).map(|_| row()).collect()
}

/// Samples of a wave.
const SAMPLES: usize = 48;

fn signals(rng: &mut Rng, count: usize) -> Vec<Row> {
    let shapes: [fn(f32) -> f32; 4] = [
        |phase| (TAU * phase).sin(),
        |phase| if phase.fract() < 0.5 { 1.0 } else { -1.0 },
        |phase| 2.0 * phase.fract() - 1.0,
        |phase| (TAU * phase * (0.5 + 0.4 * phase)).sin(),
    ];
    let mut row = || {
        let (which, pace, begin) = (rng.usize(..shapes.len()), 2.5 + 0.6 * rng.f32(), 0.15 * rng.f32());
        let sample = |at: usize| shapes[which](pace * at as f32 / SAMPLES as f32 + begin);
        ((0..SAMPLES).map(|at| sample(at) + 0.5 * normal(rng)).collect(), class(which, shapes.len()))
    };
    (0..count).map(|_| row()).collect()
}

fn in_counts(mut rows: Vec<Row>) -> Vec<Row> {
    for value in rows.iter_mut().flat_map(|(x, _)| x) {
        *value = (2000.0 + 300.0 * *value).round();
    }
    rows
}

fn denoising(rng: &mut Rng, count: usize) -> Vec<Row> {
    let mut row = || {
        let waves: [(f32, f32); 2] = std::array::from_fn(|_| (1.0 + 2.0 * rng.f32(), rng.f32()));
        let clean: Vec<f32> = (0..32)
            .map(|at| waves.iter().map(|(pace, begin)| (TAU * (pace * at as f32 / 32.0 + begin)).sin()).sum())
            .collect();
        (clean.iter().map(|value| value + 0.4 * normal(rng)).collect(), clean)
    };
    (0..count).map(|_| row()).collect()
}

/// Different tokens of the chain.
const TOKENS: usize = 24;
/// Tokens that are seen before the one that is to be told.
const SEEN: usize = 3;
/// Chances of the three likely successors of a token; what is left falls on all alike.
const SUCCESSORS: [f32; 3] = [0.6, 0.2, 0.12];

fn markov(rng: &mut Rng, count: usize) -> Vec<Row> {
    let likely: Vec<[usize; 3]> = (0..TOKENS).map(|_| std::array::from_fn(|_| rng.usize(..TOKENS))).collect();
    let mut chain = vec![0];
    while chain.len() < count + SEEN {
        let mut left = rng.f32();
        let next = SUCCESSORS.iter().position(|chance| {
            left -= chance;
            left < 0.0
        });
        let last = chain[chain.len() - 1];
        chain.push(next.map_or_else(|| rng.usize(..TOKENS), |which| likely[last][which]));
    }
    let row = |window: &[usize]| {
        let seen = window[..SEEN].iter().flat_map(|&token| class(token, TOKENS)).collect();
        (seen, class(window[SEEN], TOKENS))
    };
    chain.windows(SEEN + 1).map(row).collect()
}

fn many_outputs(rng: &mut Rng, count: usize) -> Vec<Row> {
    let mut row = || {
        let x = normals(rng, 5);
        let y = vec![
            x[0] * x[1],
            (1.5 * x[2]).sin() + 0.5 * x[3],
            x[4].abs() - 0.8,
            (x[0] + x[3]).tanh(),
            0.4 * x[2] * x[2] - 0.4,
            0.7 * x[1] - 0.7 * x[4],
        ];
        (x, y)
    };
    (0..count).map(|_| row()).collect()
}

fn imbalanced(rng: &mut Rng, count: usize) -> Vec<Row> {
    let mut row = || {
        let rare = rng.f32() < 0.06;
        let mut x = normals(rng, 10);
        if rare {
            x[..4].iter_mut().for_each(|value| *value = 1.4 + 0.6 * *value);
        }
        (x, class(usize::from(rare), 2))
    };
    (0..count).map(|_| row()).collect()
}

fn identities(rng: &mut Rng, count: usize) -> Vec<Row> {
    let anchors: Vec<Vec<f32>> = (0..6).map(|_| normals(rng, 16)).collect();
    let mut row = || {
        let who = rng.usize(..anchors.len());
        (anchors[who].iter().map(|value| value + 0.7 * normal(rng)).collect(), class(who, anchors.len()))
    };
    (0..count).map(|_| row()).collect()
}

fn counts(rng: &mut Rng, count: usize) -> Vec<Row> {
    let mut row = || {
        let x = normals(rng, 6);
        let rate = (2.3 + 0.4 * x[0] - 0.3 * x[1] + 0.3 * (x[2] * x[3]).tanh()).exp();
        // Arrivals within one unit of time, the gaps between them exponential.
        let (mut time, mut arrivals) = (0.0, 0.0);
        while time < rate {
            time -= (1.0 - rng.f32()).ln();
            arrivals += 1.0;
        }
        (x, vec![arrivals - 1.0])
    };
    (0..count).map(|_| row()).collect()
}
