//! The curves on the page of symptoms.
//!
//! Owns: the content of a picture, and its noise. Must not know: how pictures are drawn.

/// Curves by name, each a value for every fraction of the run (0 to 1). Negative infinity is a point that was not
/// logged.
pub type Picture = &'static [Curve];

/// A curve: its name, and its value for each share of the run (0 to 1).
pub type Curve = (&'static str, fn(f64) -> f64);

/// The number of points of each curve.
pub const POINTS: usize = 400;

/// Noise between -1 and 1 that is the same in every drawing.
pub(super) fn jitter(share: f64) -> f64 {
    let mut bits = (share * 1e6) as u64 ^ 0x9E37_79B9_7F4A_7C15;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

#[cfg(test)]
mod tests {
    use super::super::ALL;
    use super::super::test_jobs::*;
    use super::*;

    /// The job in a picture.
    fn job(picture: Picture) -> JobView {
        let curve = |name: &str| {
            let (_, at) = picture.iter().find(|(known, _)| *known == name)?;
            let values = (0..POINTS).map(|point| at(point as f64 / POINTS as f64));
            Some(values.collect::<Vec<f64>>())
        };
        let mut job = with_loss(curve("training loss").expect("a training loss"));
        job.validation_loss = curve("validation loss").and_then(|values| observed(values.into_iter().step_by(10)));
        job.accuracy = curve("training accuracy").and_then(observed);
        job.gradient_norm = curve("gradient norm").and_then(observed);
        job.learning_rate = curve("learning rate").and_then(observed);
        job
    }

    #[test]
    fn each_picture_shows_its_symptom() {
        for symptom in ALL {
            let mut job = job(symptom.picture);
            match symptom.id {
                // This symptom appears in histograms, layer by layer.
                "dead_units" => continue,
                // Missing values are not points.
                "silent" => {
                    let values = (0..160).map(|point| (symptom.picture[0].1)(f64::from(point) / POINTS as f64));
                    job = with_loss(values);
                    job.life = Life { ended: false, finished: false, silent_for: 6000.0, done: Some(0.4), ..job.life };
                }
                "loss_floor" => drop(job.knobs.insert("loss".into(), "cross_entropy".into())),
                _ => {}
            }
            assert!(
                symptom.examine(&job).is_some(),
                "{}: {:?}",
                symptom.id,
                super::super::examine(&crate::evidence::Evidence::of(&job))
            );
        }
    }
}
