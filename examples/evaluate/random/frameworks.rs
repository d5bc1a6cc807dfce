//! The names that frameworks give to what they log.
//!
//! Owns: the tags. Must not know: what is logged when.

use serde::{Deserialize, Serialize};

/// Whose names the tags have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Framework {
    /// `Loss/train`, as in PyTorch's tutorials.
    Slashes,
    /// `train_loss`.
    Words,
    /// `loss` and `val_loss`.
    Short,
    /// Keras' callback: a point an epoch, folders for training and validation.
    Keras,
    /// Lightning.
    Lightning,
    /// Hugging Face's Trainer.
    Trainer,
    /// Megatron-LM.
    Megatron,
    /// TensorFlow's Estimator.
    Estimator,
    /// MosaicML's Composer.
    Composer,
    /// MMEngine.
    Mmengine,
    /// fairseq, with losses in bits.
    Fairseq,
    /// detectron2.
    Detectron,
    /// Stable-Baselines3.
    StableBaselines,
    /// CleanRL.
    CleanRl,
    /// RLlib.
    Rllib,
}

impl Framework {
    /// Whether no rule and no weight may be fitted on programs that log so.
    pub(crate) fn held_back(self) -> bool {
        matches!(
            self,
            Framework::Estimator | Framework::Mmengine | Framework::Fairseq | Framework::Detectron | Framework::Rllib
        )
    }

    /// What it calls what is logged.
    pub(super) const fn tags(self) -> Tags {
        match self {
            Framework::Slashes => SLASHES,
            Framework::Words => WORDS,
            Framework::Short => SHORT,
            Framework::Keras => KERAS,
            Framework::Lightning => LIGHTNING,
            Framework::Trainer => TRAINER,
            Framework::Megatron => MEGATRON,
            Framework::Estimator => ESTIMATOR,
            Framework::Composer => COMPOSER,
            Framework::Mmengine => MMENGINE,
            Framework::Fairseq => FAIRSEQ,
            Framework::Detectron => DETECTRON,
            Framework::StableBaselines => STABLE_BASELINES,
            Framework::CleanRl => CLEAN_RL,
            Framework::Rllib => RLLIB,
        }
    }
}

/// Names of what is logged, for training and validation; an empty one is not logged.
#[derive(Clone, Copy)]
pub(super) struct Tags {
    /// Losses.
    pub(super) loss: [&'static str; 2],
    /// Accuracies.
    pub(super) accuracy: [&'static str; 2],
    /// The learning rate.
    pub(super) rate: &'static str,
    /// The gradient norm.
    pub(super) norm: &'static str,
    /// The epoch.
    pub(super) epoch: &'static str,
    /// The mean reward.
    pub(super) reward: &'static str,
    /// Folders below the job's own.
    pub(super) folders: [&'static str; 2],
    /// Whether losses are logged in bits.
    pub(super) bits: bool,
}

const NONE: Tags =
    Tags { loss: [""; 2], accuracy: [""; 2], rate: "", norm: "", epoch: "", reward: "", folders: [""; 2], bits: false };

const SLASHES: Tags = Tags {
    loss: ["Loss/train", "Loss/val"],
    accuracy: ["Accuracy/train", "Accuracy/val"],
    rate: "lr",
    norm: "grad_norm",
    ..NONE
};

const WORDS: Tags = Tags {
    loss: ["train_loss", "val_loss"],
    accuracy: ["train_acc", "val_acc"],
    rate: "learning_rate",
    norm: "gradient_norm",
    ..NONE
};

const SHORT: Tags =
    Tags { loss: ["loss", "val_loss"], accuracy: ["accuracy", "val_accuracy"], rate: "lr", norm: "grad_norm", ..NONE };

const KERAS: Tags = Tags {
    loss: ["epoch_loss", "epoch_loss"],
    accuracy: ["epoch_accuracy", "epoch_accuracy"],
    rate: "epoch_learning_rate",
    norm: "",
    folders: ["train", "validation"],
    ..NONE
};

const LIGHTNING: Tags = Tags {
    loss: ["train_loss", "val_loss"],
    accuracy: ["train_acc", "val_acc"],
    rate: "lr-Adam",
    norm: "grad_2.0_norm_total",
    epoch: "epoch",
    ..NONE
};

const TRAINER: Tags = Tags {
    loss: ["train/loss", "eval/loss"],
    accuracy: ["", "eval/accuracy"],
    rate: "train/learning_rate",
    norm: "train/grad_norm",
    epoch: "train/epoch",
    ..NONE
};

const MEGATRON: Tags = Tags {
    loss: ["lm-loss-training/lm loss", "lm-loss-validation/lm loss validation"],
    rate: "learning-rate/learning-rate",
    norm: "grad-norm/grad-norm",
    ..NONE
};

const ESTIMATOR: Tags = Tags {
    loss: ["loss", "loss"],
    accuracy: ["", "accuracy"],
    rate: "learning_rate",
    norm: "global_norm/gradient_norm",
    folders: ["", "eval"],
    ..NONE
};

const COMPOSER: Tags = Tags {
    loss: ["loss/train/total", "metrics/eval/CrossEntropy"],
    accuracy: ["metrics/train/MulticlassAccuracy", "metrics/eval/MulticlassAccuracy"],
    rate: "lr-DecoupledAdamW/group0",
    norm: "l2_norm/grad/global",
    ..NONE
};

const MMENGINE: Tags = Tags {
    loss: ["loss", "val/loss"],
    accuracy: ["", "accuracy/top1"],
    rate: "lr",
    norm: "grad_norm",
    epoch: "epoch",
    ..NONE
};

const FAIRSEQ: Tags =
    Tags { loss: ["loss", "loss"], rate: "lr", norm: "gnorm", folders: ["train_inner", "valid"], bits: true, ..NONE };

const DETECTRON: Tags = Tags { loss: ["total_loss", "validation_loss"], rate: "lr", ..NONE };

const STABLE_BASELINES: Tags = Tags {
    reward: "rollout/ep_rew_mean",
    loss: ["train/policy_gradient_loss", ""],
    rate: "train/learning_rate",
    ..NONE
};

const CLEAN_RL: Tags =
    Tags { reward: "charts/episodic_return", loss: ["losses/policy_loss", ""], rate: "charts/learning_rate", ..NONE };

const RLLIB: Tags = Tags {
    reward: "ray/tune/env_runners/episode_return_mean",
    loss: ["ray/tune/learners/default_policy/policy_loss", ""],
    rate: "ray/tune/learners/default_policy/default_optimizer_learning_rate",
    norm: "ray/tune/learners/default_policy/gradients_default_optimizer_global_norm",
    ..NONE
};
