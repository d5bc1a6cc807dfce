//! Which settings a job does not log, and the lines of code that log them.
//!
//! Owns: the settings that matter most for a diagnosis, which library wrote a job's tags, and how each library logs settings.
//! Must not know: values, printing.

use crate::jobs::Job;

use super::Exam;
use crate::evidence::Kind;

/// The settings that a first look at a job that does not learn asks for, by knob and in words.
const ASKED: &[(&str, &str)] = &[
    ("learning_rate", "learning rate"),
    ("optimizer", "optimizer"),
    ("batch_size", "batch size"),
    ("max_steps", "number of steps"),
];

/// The library that wrote a job's events, as its tags show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Writer {
    /// Keras' TensorBoard callback.
    Keras,
    /// Lightning's TensorBoard logger.
    Lightning,
    /// The Trainer of Transformers.
    Trainer,
    /// Stable-Baselines3.
    StableBaselines,
    /// A `SummaryWriter` of PyTorch or tensorboardX.
    SummaryWriter,
}

/// Tags that only one library writes.
const TAGS: &[(Writer, &[&str])] = &[
    (Writer::Keras, &["epoch_loss", "epoch_learning_rate", "batch_loss", "evaluation_loss_vs_iterations"]),
    (Writer::Trainer, &["train/global_step", "train/train_runtime", "train/train_samples_per_second", "train/epoch"]),
    (Writer::StableBaselines, &["time/fps", "time/total_timesteps", "rollout/ep_rew_mean", "train/n_updates"]),
    (Writer::Lightning, &["hp_metric", "epoch"]),
];

/// The knobs that neither the job's events nor its command tell, of those that matter most. None for a job that logged
/// nothing that can be judged, or that has no such settings.
pub fn unlogged(exam: &Exam) -> Vec<&'static str> {
    if exam.view.judged().is_none() || exam.view.kind() == Kind::Boosting {
        return Vec::new();
    }
    let known = |knob: &str| exam.facts.knobs.get(knob).is_some_and(|value| !value.is_null());
    // Epochs say how long a job is meant to be as well as steps do.
    let told = |knob: &str| known(knob) || (knob == "max_steps" && known("epochs"));
    ASKED.iter().map(|(knob, _)| *knob).filter(|knob| !told(knob)).collect()
}

/// A knob in words.
pub fn in_words(knob: &str) -> &str {
    ASKED.iter().find(|(asked, _)| *asked == knob).map_or(knob, |(_, words)| words)
}

impl Writer {
    /// The library that wrote a job's events.
    pub fn of(job: &Job<'_>) -> Writer {
        let has = |tag: &str| job.runs.iter().any(|(_, run)| run.get(tag).is_some());
        let found = TAGS.iter().find(|(_, tags)| tags.iter().any(|tag| has(tag)));
        found.map_or(Writer::SummaryWriter, |(writer, _)| *writer)
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Writer::Keras => "Keras",
            Writer::Lightning => "Lightning",
            Writer::Trainer => "the Transformers Trainer",
            Writer::StableBaselines => "Stable-Baselines3",
            Writer::SummaryWriter => "a SummaryWriter",
        }
    }

    /// The lines that log the settings `missing`, at most two. They need no other package than the library's own.
    pub fn lines(self, missing: &[&str]) -> Vec<String> {
        let values: Vec<String> = missing.iter().map(|knob| format!("\"{knob}\": …")).collect();
        let values = format!("{{{}}}", values.join(", "));
        match self {
            Writer::Keras => vec![
                "with tf.summary.create_file_writer(log_dir).as_default():".to_owned(),
                format!("    tf.summary.text(\"args\", json.dumps({values}), step=0)"),
            ],
            Writer::Lightning => vec![
                "self.save_hyperparameters()  # first line of the module's __init__, for its arguments".to_owned(),
                format!("trainer.logger.log_hyperparams({values})  # for all others"),
            ],
            Writer::Trainer => {
                vec!["TrainingArguments(…, report_to=\"tensorboard\")  # its callback logs all of them".to_owned()]
            }
            Writer::StableBaselines => vec![
                "from stable_baselines3.common.logger import HParam".to_owned(),
                format!(
                    "self.logger.record(\"hparams\", HParam({values}, {{}}))  # in a callback's _on_training_start"
                ),
            ],
            Writer::SummaryWriter => vec![
                "import json".to_owned(),
                format!("writer.add_text(\"args\", json.dumps({values}))  # with argparse: json.dumps(vars(args))"),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{Point, RunData};

    fn writer(tags: &[&str]) -> Writer {
        let mut run = RunData::default();
        for tag in tags {
            let id = run.tag_id(tag).expect("a tag");
            run.scalar(id, Point { step: 0, wall_time: 0.0, value: 1.0 });
        }
        Writer::of(&Job { name: "a".into(), runs: vec![(String::new(), &run)] })
    }

    #[test]
    fn tags_show_the_library() {
        assert_eq!(writer(&["epoch_loss", "epoch_accuracy"]), Writer::Keras);
        assert_eq!(writer(&["train_loss", "epoch", "hp_metric"]), Writer::Lightning);
        assert_eq!(writer(&["train/loss", "train/epoch", "train/grad_norm"]), Writer::Trainer);
        assert_eq!(writer(&["rollout/ep_rew_mean", "train/loss"]), Writer::StableBaselines);
        assert_eq!(writer(&["loss/train"]), Writer::SummaryWriter);
    }

    #[test]
    fn the_lines_name_what_is_missing_and_are_two_at_most() {
        for writer in
            [Writer::Keras, Writer::Lightning, Writer::Trainer, Writer::StableBaselines, Writer::SummaryWriter]
        {
            let lines = writer.lines(&["optimizer", "max_steps"]);
            assert!((1..=2).contains(&lines.len()), "{lines:?}");
            let named = lines.iter().any(|line| line.contains(r#""optimizer": …, "max_steps": …"#));
            assert!(named || writer == Writer::Trainer, "{lines:?}");
        }
    }
}
