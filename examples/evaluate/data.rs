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
