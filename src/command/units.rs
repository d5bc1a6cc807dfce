//! Conversion of steps, epochs, examples and batches of a run, based on its baseline.
//!
//! Owns: the arithmetic. Must not know: flags and commands.

use serde_json::Value;

use crate::jobs::Knobs;

/// The known values of a baseline, and the changes of an experiment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Units<'a> {
    pub(super) settings: &'a Knobs,
    pub(super) overrides: &'a Knobs,
    /// Latest logged step of the baseline's training loss.
    pub(super) steps: Option<f64>,
}

impl Units<'_> {
    fn baseline(&self, knob: &str) -> Option<f64> {
        self.settings.get(knob).and_then(Value::as_f64).filter(|number| *number > 0.0)
    }

    /// The value of a knob in the experiment.
    fn own(&self, knob: &str) -> Option<f64> {
        match self.overrides.get(knob) {
            Some(value) => value.as_f64().filter(|number| *number > 0.0),
            None => self.baseline(knob),
        }
    }

    /// Whether the baseline counts epochs as steps, like Keras' callback: as many steps as epochs, or one fewer.
    fn logs_epochs(&self) -> bool {
        let (Some(steps), Some(epochs)) = (self.steps, self.baseline("epochs")) else { return false };
        let by_size = self.baseline("train_examples").zip(self.baseline("batch_size")).map(|(n, batch)| n / batch);
        steps <= epochs && by_size.is_none_or(|steps| steps > 1.0)
    }

    /// Steps per epoch of the experiment; `None` if neither the size of its data nor the baseline's log determines it.
    pub(super) fn steps_per_epoch(&self) -> Option<f64> {
        let few = self.overrides.contains_key("train_examples");
        if self.logs_epochs() && !few {
            return Some(1.0);
        }
        if let (Some(examples), Some(batch)) = (self.own("train_examples"), self.own("batch_size")) {
            return Some((examples / batch).ceil().max(1.0));
        }
        if few { None } else { self.whole_epoch() }
    }

    /// Steps per epoch on all training data, by the baseline's log, at the batch size of the experiment.
    fn whole_epoch(&self) -> Option<f64> {
        let before = ((self.steps? + 1.0) / self.baseline("epochs")?).round();
        let scale = match (self.baseline("batch_size"), self.own("batch_size")) {
            (Some(before), Some(now)) => before / now,
            _ if self.overrides.contains_key("batch_size") => return None,
            _ => 1.0,
        };
        Some((before * scale).ceil()).filter(|steps| *steps >= 1.0)
    }

    /// The number of epochs for this many steps.
    pub(super) fn epochs(&self, steps: f64) -> Option<f64> {
        Some((steps / self.steps_per_epoch()?).ceil().max(1.0))
    }

    /// The number of batches for this many examples.
    pub(super) fn batches(&self, examples: f64) -> Option<f64> {
        Some((examples / self.own("batch_size")?).ceil().max(1.0))
    }

    /// The fraction of the batches of an epoch that holds this many examples; `None` if it is not known how many there
    /// are, or if that is all of them. Rounded down, it gives the number of batches.
    pub(super) fn share_of_batches(&self, examples: f64) -> Option<f64> {
        let all = self.baseline("train_examples").zip(self.own("batch_size")).map(|(n, batch)| (n / batch).ceil());
        let share = (self.batches(examples)? + 0.5) / all.or_else(|| self.whole_epoch())?;
        (share < 1.0).then_some(share)
    }

    /// The fraction of the baseline's examples.
    pub(super) fn share(&self, examples: f64) -> Option<f64> {
        Some(examples / self.baseline("train_examples")?).filter(|share| *share <= 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn knobs(value: &Value) -> Knobs {
        value.as_object().unwrap().clone().into_iter().collect()
    }

    fn epochs(settings: Value, overrides: Value, steps: f64, wanted: f64) -> Option<f64> {
        let (settings, overrides) = (knobs(&settings), knobs(&overrides));
        Units { settings: &settings, overrides: &overrides, steps: Some(steps) }.epochs(wanted)
    }

    #[test]
    fn steps_become_epochs_by_what_is_known() {
        let logged = json!({"epochs": 5, "batch_size": 128});
        // 60,000 examples in batches of 128 are 469 steps.
        assert_eq!(epochs(logged.clone(), json!({}), 2344.0, 1000.0), Some(3.0));
        assert_eq!(epochs(logged.clone(), json!({"batch_size": 64}), 2344.0, 938.0), Some(1.0));
        assert_eq!(epochs(logged.clone(), json!({"train_examples": 1, "batch_size": 1}), 2344.0, 500.0), Some(500.0));
        assert_eq!(epochs(json!({"epochs": 5}), json!({"train_examples": 1}), 2344.0, 500.0), None);
        assert_eq!(epochs(json!({"batch_size": 32, "train_examples": 1000}), json!({}), 10.0, 320.0), Some(10.0));
        // Keras logs an epoch as a step, so three times the baseline's steps are three times its epochs.
        let keras = json!({"epochs": 20, "batch_size": 32, "train_examples": 1000});
        assert_eq!(epochs(keras.clone(), json!({}), 19.0, 60.0), Some(60.0));
        assert_eq!(epochs(keras, json!({"train_examples": 1, "batch_size": 1}), 19.0, 200.0), Some(200.0));
        assert_eq!(epochs(json!({}), json!({}), 10.0, 10.0), None);
    }
}
