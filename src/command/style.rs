//! How a script reads its options, and its training library, for people.
//!
//! Owns: the names by which libraries are recognised in source code. Must not know: options.

use super::peel::{Peeled, Script, base};
use super::python::Source;

/// Option parsers, most specific first, each with names that identify it in the source.
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

/// Training libraries, likewise.
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

/// Programs that take a configuration file, and their names.
const PROGRAMS: &[(&str, &str)] = &[
    ("llamafactory-cli", "LLaMA-Factory"),
    ("axolotl", "Axolotl"),
    ("yolo", "Ultralytics"),
    ("litgpt", "LitGPT"),
    ("tune", "torchtune"),
];

/// How a script reads its options, and its training library, according to its source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// `argparse`, `Hydra`, …
    pub parser: Option<&'static str>,
    /// `PyTorch`, `Keras`, …
    pub library: Option<&'static str>,
}

impl Style {
    /// Records a source file of the script; earlier results take precedence.
    pub(super) fn note(&mut self, source: &Source) {
        let found = |list: &[(&'static str, &[&str])]| {
            list.iter().find(|(_, names)| names.iter().any(|name| source.names(name))).map(|(name, _)| *name)
        };
        self.parser = self.parser.or_else(|| found(PARSERS));
        self.library = self.library.or_else(|| found(LIBRARIES));
    }

    /// Records a program that is not a script of the user.
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
