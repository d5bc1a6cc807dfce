//! Makes a script print its options. This executes the script up to that point.
//!
//! Owns: the arguments that make a script print. Must not know: the output.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use super::child::Short;
use crate::command::{Printed, Script, Style, peel};

/// Importing a framework is slow on a slow disk.
const LIMIT: Duration = Duration::from_secs(120);

/// The command that makes a script print its options; `None` if there is no script.
pub fn question(argv: &[String], style: Style) -> Option<Vec<String>> {
    let peeled = peel(argv);
    let (Script::File(at) | Script::Module(at) | Script::Program(at)) = peeled.script else { return None };
    // Launchers are unnecessary for this and may start jobs, but wrappers that select the interpreter are kept.
    let interpreter = argv[..at].iter().rposition(|word| {
        let name = word.rsplit('/').next().unwrap_or(word);
        name.starts_with("python")
    });
    let environment = ["uv", "poetry", "pdm", "pipenv", "hatch", "pixi", "rye", "conda", "mamba", "micromamba"];
    let manages = argv.first().is_some_and(|word| environment.contains(&word.rsplit('/').next().unwrap_or(word)));
    let from = if manages { 0 } else { interpreter.unwrap_or(at) };
    let mut words: Vec<String> = argv[from..at].to_vec();
    if interpreter.is_none() && !manages && matches!(peeled.script, Script::File(_)) {
        words.push("python".to_owned());
    }
    if interpreter.is_none() && matches!(peeled.script, Script::Module(_)) && words.is_empty() {
        words.extend(["python".to_owned(), "-m".to_owned()]);
    }
    words.push(argv[at].clone());
    let own = || argv[peeled.arguments..].to_vec();
    match style.parser {
        Some("Hydra") => {
            words.extend(own());
            words.extend(["--cfg", "job"].map(str::to_owned));
        }
        Some("LightningCLI" | "jsonargparse") => {
            words.extend(own());
            words.push("--print_config".to_owned());
        }
        _ => words.push("--help".to_owned()),
    }
    Some(words)
}

/// Runs such a command.
///
/// # Errors
///
/// It cannot be started, fails, or takes too long.
pub fn ask(words: Vec<String>, style: Style, cwd: &str, env: &BTreeMap<String, String>) -> io::Result<Printed> {
    let mut env = env.clone();
    // Narrow output breaks lines, and no GPU is needed.
    env.extend(
        [("COLUMNS", "200"), ("CUDA_VISIBLE_DEVICES", ""), ("NO_COLOR", "1"), ("TERM", "dumb")]
            .map(|(k, v)| (k.to_owned(), v.to_owned())),
    );
    let ran = Short { argv: words, cwd: cwd.to_owned(), env }.print(LIMIT)?;
    match ran.code {
        Some(0) => Ok(match style.parser {
            Some("Hydra") => Printed::HydraConfig(ran.output),
            Some("LightningCLI" | "jsonargparse") => Printed::Config(ran.output),
            _ => Printed::Help(ran.output),
        }),
        Some(code) => Err(io::Error::other(format!("it ended with exit code {code}"))),
        None => Err(io::Error::other(format!("it did not end within {} s", LIMIT.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_asked_without_its_launcher() {
        let asked = |command: &str, parser| {
            let argv: Vec<String> = command.split(' ').map(str::to_owned).collect();
            question(&argv, Style { parser, library: None }).unwrap_or_default().join(" ")
        };
        for (command, parser, expected) in [
            ("python train.py --lr 1", None, "python train.py --help"),
            ("torchrun --nproc_per_node 2 train.py --lr 1", Some("argparse"), "python train.py --help"),
            ("srun -N 2 /venv/bin/python -u train.py --lr 1", None, "/venv/bin/python -u train.py --help"),
            ("uv run train.py --lr 1", None, "uv run train.py --help"),
            ("python -m pkg.train --lr 1", None, "python -m pkg.train --help"),
            ("python t.py lr=1", Some("Hydra"), "python t.py lr=1 --cfg job"),
            ("python t.py fit --model.lr 1", Some("LightningCLI"), "python t.py fit --model.lr 1 --print_config"),
            ("python -c 1", None, ""),
        ] {
            assert_eq!(asked(command, parser), expected, "{command}");
        }
    }
}
