use super::{Curve, Detector, Finding, JobView, Severity, SymptomDoc, declare_symptom};

declare_symptom! {
    /// **What it shows.** A loss or a gradient norm is pinned at a bound, so that its true size is hidden.
    ///
    /// **How it is decided.** Nine of ten levels of the gradient norm have the same maximum and a mean within 1 % of it;
    /// or the norm before clipping is more than thirty times the clip value for the whole run. A `problem` where the loss
    /// is also bad (not halved), else `info`: clipping that bites now and then is healthy.
    ///
    /// **Source.** The article's case study: clipping masked the real problem, as batch norm did.
    Clipped, "clipped", "a loss or gradient norm is pinned at a bound, so that its true size is hidden"
}

/// Levels whose maximum is the bound.
const PINNED_LEVELS: f64 = 0.9;
/// How close a mean has to be to the bound.
const CLOSE: f64 = 0.01;
/// A norm below this share of the loss has vanished.
const VANISHED: f64 = 1e-6;
/// A norm so far above the clip value is never let through.
const FAR_ABOVE: f64 = 30.0;

impl Detector for Clipped {
    fn doc(&self) -> &'static SymptomDoc {
        &Self::DOC
    }

    fn examine(&self, job: &JobView) -> Option<Finding> {
        let norm = job.gradient_norm.as_ref()?.curve.as_ref()?;
        let bound = norm.highest.value;
        let clip = job.number("gradient_clip");
        // A norm next to nothing is no bound: gradients vanish.
        let level = job.loss.as_ref().and_then(|o| o.curve.as_ref()).map_or(0.0, |curve| curve.end.abs());
        let summary = if bound > VANISHED * level && bound > 0.0 && pinned(norm, bound) {
            format!("the gradient norm is pinned at {bound:.4}: its true size is hidden")
        } else if let Some(clip) =
            clip.filter(|clip| *clip > 0.0 && norm.end > FAR_ABOVE * clip && norm.start > FAR_ABOVE * clip)
        {
            format!(
                "the gradient norm ({:.3e}) is far above the clip value {clip} all along: every step is cut to it",
                norm.end
            )
        } else {
            return None;
        };
        let learned = job.falling_loss().is_none_or(|loss| loss.lost(0.5));
        let severity = if learned || job.accurate() { Severity::Info } else { Severity::Problem };
        Some(Finding::in_curve(self, severity, norm, summary).with("bound", clip.unwrap_or(bound)))
    }
}

fn pinned(norm: &Curve, bound: f64) -> bool {
    let at_bound =
        norm.levels.iter().filter(|l| l.max >= bound * (1.0 - 1e-4) && l.mean > bound * (1.0 - CLOSE)).count();
    at_bound as f64 >= PINNED_LEVELS * norm.levels.len() as f64
}

#[cfg(test)]
mod tests {
    use super::super::curve::tests::noise;
    use super::super::view::tests::{observed, with_loss};
    use super::*;

    #[test]
    fn a_pinned_norm_with_a_bad_loss_is_a_problem() {
        let mut job = with_loss((0..500).map(|i| 2.3 + 0.1 * noise(i)));
        job.gradient_norm = observed((0..500).map(|_| 0.05));
        assert_eq!(Clipped.examine(&job).map(|f| f.severity), Some(Severity::Problem));
    }

    #[test]
    fn a_norm_next_to_nothing_is_not_pinned() {
        let mut job = with_loss((0..500).map(|i| 2.3 + 0.1 * noise(i)));
        job.gradient_norm = observed((0..500).map(|_| 1e-9));
        assert!(Clipped.examine(&job).is_none());
    }

    #[test]
    fn clipping_now_and_then_is_healthy() {
        let mut job = with_loss((0..500).map(|i| 1.0 / (1.0 + 0.1 * i as f64)));
        job.gradient_norm = observed((0..500).map(|i| 0.8 + noise(i)));
        job.knobs.insert("gradient_clip".into(), 0.3.into());
        assert!(Clipped.examine(&job).is_none());
    }
}
