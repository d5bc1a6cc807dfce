//! What other tools would have said of the same runs: their published rules, computed from event files.
//!
//! Owns: the rules, each with the tool it is from and its numbers as published. Must not know: cases. Rules that need what
//! event files do not hold (activations, the network's code) are left out. Callbacks that are called once an epoch see
//! means over epochs.

use crate::curves::{Curves, by_epoch, deviation, mean, median};

/// A rule of a tool, or all of its rules that can be computed.
pub(crate) struct Rule {
    /// Whose rule.
    pub(crate) tool: &'static str,
    /// What it looks for, with its numbers.
    pub(crate) rule: &'static str,
    /// Whether it fires at any time of a run.
    pub(crate) fires: fn(&Curves) -> bool,
}

/// The rules.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        tool: "SageMaker Debugger, LossNotDecreasing",
        rule: "every 10 points: fell by less than 0.1 %, or rose by more than 5 %",
        fires: |curves| {
            let every: Vec<f64> = curves.loss.iter().copied().step_by(10).collect();
            every.windows(2).any(|pair| {
                let fell = (pair[0] - pair[1]) / pair[0].abs();
                fell < 0.001 || fell < -0.05
            })
        },
    },
    Rule {
        tool: "SageMaker Debugger, Overfit and Overtraining",
        rule: "validation 10 % above training; or no gain of 0.01 in 5 training and 10 validation epochs",
        fires: |curves| {
            let (train, validation) = (by_epoch(&curves.loss), by_epoch(&curves.validation_loss));
            let at = |i: usize| train[(i * train.len() / validation.len()).min(train.len() - 1)];
            let gap = |(i, value): (usize, &f64)| (value - at(i)) / at(i) > 0.1;
            let gaps = !train.is_empty() && validation.iter().enumerate().any(gap);
            gaps || stale(&train, 5, 0.01) && stale(&validation, 10, 0.01)
        },
    },
    Rule {
        tool: "SageMaker Debugger, ExplodingTensor and VanishingGradient",
        rule: "NaN or infinity; mean size of gradients below 1e-7",
        fires: |curves| curves.not_finite() || curves.gradient_norm.iter().any(|norm| *norm < 1e-7),
    },
    Rule {
        tool: "AutoTrainer",
        rule: "NaN; loss >= 1000 or < 0; after 30 % of the epochs: accuracy never 0.6, gains below 0.01, or swings of 0.03 in 20 % of the epochs",
        fires: autotrainer,
    },
    Rule {
        tool: "DeepLocalize, DeepDiagnosis",
        rule: "NaN; 5 identical losses, 20 identical accuracies; mean size of gradients below 1e-7",
        fires: |curves| {
            let same = |values: &[f64], count: usize| {
                values.windows(count).any(|window| window.iter().all(|value| *value == window[0]))
            };
            let [loss, accuracy] = [&curves.loss, &curves.accuracy].map(|curve| by_epoch(curve));
            let vanished = curves.gradient_norm.iter().any(|norm| *norm < 1e-7);
            curves.not_finite() || same(&loss, 5) || same(&accuracy, 20) || vanished
        },
    },
    Rule {
        tool: "UMLAUT",
        rule: "NaN; LR above 0.01 or below 1e-7; validation loss up while training's is not; validation accuracy above 0.95",
        fires: umlaut,
    },
    Rule {
        tool: "Lightning, EarlyStopping",
        rule: "validation loss without a new minimum for 3 validations; NaN",
        fires: |curves| curves.not_finite() || stale(&curves.validation_loss, 3, 0.0),
    },
    Rule {
        tool: "Lightning, SpikeDetection",
        rule: "loss twice its mean away from the mean of the last 10; NaN",
        fires: |curves| {
            let spike = |window: &[f64]| (window[10] - mean(&window[..10])).abs() >= 2.0 * mean(&window[..10]).abs();
            curves.not_finite() || curves.loss.windows(11).any(spike)
        },
    },
    Rule {
        tool: "Ray Tune, TrialPlateauStopper",
        rule: "deviation of the last 4 results below 0.01",
        fires: |curves| by_epoch(&curves.loss).windows(4).any(|window| deviation(window) < 0.01),
    },
    Rule {
        tool: "Weights & Biases, z-score automation",
        rule: "loss 3 deviations above the mean of the last 30",
        fires: |curves| curves.loss.windows(31).any(|window| above(window, 3.0)),
    },
    Rule {
        tool: "OLMo-core, StabilityMonitor",
        rule: "loss or gradient norm 6 deviations above the mean of the last 128",
        fires: |curves| {
            let spikes = |curve: &[f64]| curve.windows(129).any(|window| above(window, 6.0));
            spikes(&curves.loss) || spikes(&curves.gradient_norm)
        },
    },
    Rule {
        tool: "Megatron-LM, rerun state machine",
        rule: "NaN; loss 10 times the largest so far",
        fires: |curves| {
            let mut largest = f64::NAN;
            curves.not_finite()
                || curves.loss.iter().any(|loss| {
                    let spike = *loss > 10.0 * largest;
                    largest = largest.max(*loss);
                    spike
                })
        },
    },
    Rule {
        tool: "keepalive",
        rule: "NaN; loss 2.5 times the mean of the last 20",
        fires: |curves| {
            curves.not_finite() || curves.loss.windows(21).any(|window| window[20] > 2.5 * mean(&window[..20]))
        },
    },
    Rule {
        tool: "runwise",
        rule: "loss 3.5 MAD above and twice the median of the last 100; under 1 % from quarter to quarter; validation 1.5 times its minimum; gradients below 1e-7 or 10 times their mean",
        fires: runwise,
    },
    Rule {
        tool: "trainproof",
        rule: "NaN; ends 1.5 times above its minimum; last five no better than 0.95 of the first five; gradients 10 times their median; validation 1.2 times its minimum",
        fires: trainproof,
    },
];

/// Whether the newest value of a window is so many deviations above the mean of the others.
fn above(window: &[f64], deviations: f64) -> bool {
    let (newest, earlier) = (window[window.len() - 1], &window[..window.len() - 1]);
    newest > mean(earlier) + deviations * deviation(earlier)
}

/// Whether at any time the minimum was not bettered by `delta` for so many values.
fn stale(values: &[f64], patience: usize, delta: f64) -> bool {
    let (mut best, mut waited) = (f64::INFINITY, 0);
    values.iter().any(|value| {
        if *value < best - delta {
            (best, waited) = (*value, 0);
        } else {
            waited += 1;
        }
        waited >= patience
    })
}

fn autotrainer(curves: &Curves) -> bool {
    let (loss, accuracy) = (by_epoch(&curves.loss), by_epoch(&curves.accuracy));
    let validation = by_epoch(&curves.validation_accuracy);
    if curves.not_finite() || loss.iter().any(|loss| *loss >= 1e3 || *loss < 0.0) {
        return true;
    }
    let (Some(first), true) = (accuracy.first(), accuracy.len() >= 4) else { return false };
    let highest = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let validation_gain = validation.first().map_or(f64::NEG_INFINITY, |first| highest(&validation) - first);
    let slow = highest(&accuracy) - first < 0.01 && validation_gain < 0.01;
    let swings = accuracy.windows(2).filter(|pair| pair[0] - pair[1] >= 0.03).count();
    let oscillates = swings as f64 >= 0.2 * accuracy.len() as f64;
    highest(&accuracy) < 0.6 || slow || oscillates
}

fn umlaut(curves: &Curves) -> bool {
    let (train, validation) = (by_epoch(&curves.loss), by_epoch(&curves.validation_loss));
    let rate = curves.learning_rate.iter().any(|rate| *rate > 0.01 || *rate < 1e-7);
    let at = |i: usize| train.get(i * train.len() / validation.len().max(1)).copied().unwrap_or(f64::NAN);
    let overfits = |i: usize| validation[i] > validation[i - 1] && at(i) <= at(i - 1);
    let too_good = curves.validation_accuracy.iter().skip(3).any(|accuracy| *accuracy > 0.95);
    curves.not_finite() || rate || (1..validation.len()).any(overfits) || too_good
}

fn runwise(curves: &Curves) -> bool {
    let spike = |window: &[f64]| {
        let (newest, earlier) = (window[100], &window[..100]);
        let center = median(earlier);
        let spread = median(&earlier.iter().map(|value| (value - center).abs()).collect::<Vec<_>>());
        0.6745 * (newest - center) > 3.5 * spread && newest > 2.0 * center
    };
    let quarter = |part: usize| mean(&curves.loss[curves.loss.len() * part / 4..curves.loss.len() * (part + 1) / 4]);
    let flat = curves.loss.len() >= 500 && ((quarter(2) - quarter(3)) / quarter(2).abs()).abs() < 0.01;
    let gradients = &curves.gradient_norm;
    let vanished = gradients.windows(10).any(|window| window.iter().all(|norm| *norm < 1e-7));
    let exploded = gradients.iter().any(|norm| *norm > 10.0 * mean(gradients));
    let lowest = curves.validation_loss.iter().copied().fold(f64::INFINITY, f64::min);
    let overfits = curves.validation_loss.last().is_some_and(|last| *last > 1.5 * lowest);
    curves.not_finite() || curves.loss.windows(101).any(spike) || flat || vanished || exploded || overfits
}

fn trainproof(curves: &Curves) -> bool {
    let loss = &curves.loss;
    if curves.not_finite() || loss.iter().filter(|loss| **loss == 0.0).count() >= 5 {
        return true;
    }
    let lowest = |values: &[f64]| values.iter().copied().filter(|value| *value != 0.0).fold(f64::INFINITY, f64::min);
    let flat = deviation(loss) / mean(loss).abs() < 1e-3;
    let diverges = loss.last().is_some_and(|last| *last > 1.5 * lowest(loss));
    let dead = loss.len() >= 10 && median(&loss[loss.len() - 5..]) >= 0.95 * median(&loss[..5]);
    let gradients = &curves.gradient_norm;
    let spikes = gradients.iter().any(|norm| *norm > 10.0 * median(gradients));
    let validation = &curves.validation_loss;
    let overfits = validation.len() >= 4 && median(&validation[validation.len() - 3..]) > 1.2 * lowest(validation);
    let no_rate = curves.learning_rate.iter().filter(|rate| **rate == 0.0).count();
    let stopped = !curves.learning_rate.is_empty() && no_rate as f64 >= 0.99 * curves.learning_rate.len() as f64;
    flat || diverges || dead || spikes || overfits || stopped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fires(tool: &str, curves: &Curves) -> bool {
        let rules: Vec<&Rule> = RULES.iter().filter(|rule| rule.tool.starts_with(tool)).collect();
        assert!(!rules.is_empty(), "{tool}");
        rules.iter().any(|rule| (rule.fires)(curves))
    }

    fn with_loss(loss: impl Iterator<Item = f64>) -> Curves {
        Curves { loss: loss.collect(), ..Curves::default() }
    }

    #[test]
    fn nan_is_seen_by_all_that_look_for_it() {
        let broken = with_loss((0..200).map(|i| if i < 150 { 2.0 - f64::from(i) / 100.0 } else { f64::NAN }));
        for tool in ["AutoTrainer", "DeepLocalize", "UMLAUT", "Lightning", "Megatron", "keepalive", "trainproof"] {
            assert!(fires(tool, &broken), "{tool}");
        }
    }

    #[test]
    fn a_single_spike_is_seen_by_the_rules_for_spikes_and_not_by_the_others() {
        let spiky = with_loss((0..400).map(|i| {
            let calm = 5.0 * (-f64::from(i) / 150.0).exp() + 0.01 * f64::from(i % 7);
            if i == 300 { 60.0 } else { calm }
        }));
        for (tool, expected) in [
            ("Lightning, SpikeDetection", true),
            ("Weights & Biases", true),
            ("OLMo", true),
            ("Megatron", true),
            ("keepalive", true),
            ("runwise", true),
            ("DeepLocalize", false),
            ("AutoTrainer", false),
            ("Ray", false),
        ] {
            assert_eq!(fires(tool, &spiky), expected, "{tool}");
        }
    }

    #[test]
    fn a_flat_loss_is_seen_by_the_rules_for_plateaus() {
        let flat = with_loss((0..600).map(|i| 2.3 + 1e-4 * f64::from(i % 5)));
        for (tool, expected) in [
            ("SageMaker Debugger, Loss", true),
            ("Ray", true),
            ("runwise", true),
            ("trainproof", true),
            ("OLMo", false),
        ] {
            assert_eq!(fires(tool, &flat), expected, "{tool}");
        }
    }
}
