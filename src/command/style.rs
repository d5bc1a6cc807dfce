//! How a script takes its options, and with which library it trains, for people.
//!
//! Owns: the names by which sources show libraries. Must not know: options.

use super::peel::{Peeled, Script, base};
use super::python::Source;

/// What takes a script's options, most telling first: each with names of which one occurs in the source.
const PARSERS: &[(&str, &[&str])] = &[
    ("LightningCLI", &["LightningCLI"]),
    ("Hydra", &["hydra"]),
    ("HfArgumentParser", &["HfArgumentParser", "TrlParser"]),
    ("tyro", &["tyro"]),
    ("jsonargparse", &["jsonargparse"]),
    ("typer", &["typer"]),
    ("click", &["click"]),
    ("fire", &["fire"]),
    ("absl", &["DEFINE_float", "DEFINE_integer", "DEFINE_string"]),
    ("argparse", &["argparse", "ArgumentParser"]),
    ("OmegaConf", &["OmegaConf"]),
];

/// What trains, likewise.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("Ultralytics", &["ultralytics"]),
    ("Stable-Baselines3", &["stable_baselines3"]),
    ("Lightning", &["LightningCLI", "LightningModule", "pytorch_lightning", "lightning"]),
    ("the Transformers Trainer", &["Trainer", "Seq2SeqTrainer", "SFTTrainer", "GRPOTrainer", "DPOTrainer"]),
    ("Keras", &["keras"]),
    ("TensorFlow", &["tensorflow"]),
    ("JAX", &["jax", "flax", "optax"]),
    ("PyTorch", &["torch"]),
];

/// Programs that take a configuration file, and what they are called.
const PROGRAMS: &[(&str, &str)] = &[
    ("llamafactory-cli", "LLaMA-Factory"),
    ("axolotl", "Axolotl"),
    ("yolo", "Ultralytics"),
    ("litgpt", "LitGPT"),
    ("tune", "torchtune"),
];

/// How a script takes its options, and what it trains with, as far as its source shows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// `argparse`, `Hydra`, …
    pub parser: Option<&'static str>,
    /// `PyTorch`, `Keras`, …
    pub library: Option<&'static str>,
}

impl Style {
    /// Takes note of a source file of the script; what an earlier one has shown stays.
    pub(super) fn note(&mut self, source: &Source) {
        let found = |list: &[(&'static str, &[&str])]| {
            list.iter().find(|(_, names)| names.iter().any(|name| source.names(name))).map(|(name, _)| *name)
        };
        self.parser = self.parser.or_else(|| found(PARSERS));
        self.library = self.library.or_else(|| found(LIBRARIES));
    }

    /// Takes note of a program that is no script of the user's.
    pub(super) fn note_program(&mut self, argv: &[String], peeled: &Peeled) {
        let (Script::Program(at) | Script::Module(at)) = peeled.script else { return };
        let name = base(&argv[at]).split('.').next().unwrap_or_default();
        let known = PROGRAMS.iter().find(|(program, _)| *program == name).map(|(_, shown)| *shown);
        self.library = self.library.or(known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(text: &str) -> (Option<&'static str>, Option<&'static str>) {
        let mut style = Style::default();
        style.note(&Source::read(text));
        (style.parser, style.library)
    }

    #[test]
    fn sources_show_their_libraries() {
        assert_eq!(style("import argparse, torch\n"), (Some("argparse"), Some("PyTorch")));
        assert_eq!(
            style("from lightning.pytorch.cli import LightningCLI\n"),
            (Some("LightningCLI"), Some("Lightning"))
        );
        assert_eq!(style("import hydra\nfrom tensorflow import keras\n"), (Some("Hydra"), Some("Keras")));
        assert_eq!(style("x = 1\n"), (None, None));
        let argv: Vec<String> = ["llamafactory-cli", "train", "a.yaml"].map(str::to_owned).to_vec();
        let mut style = Style::default();
        style.note_program(&argv, &crate::command::peel(&argv));
        assert_eq!(style.library, Some("LLaMA-Factory"));
    }
}
