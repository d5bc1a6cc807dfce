//! Separates the script of a command line from what precedes it: launchers, wrappers, assignments.
//!
//! Owns: which argument is the script, and where its own arguments begin. Must not know: knobs.

/// The parts of a command line, by position in `argv`, because rewriting changes arguments in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peeled {
    /// The arguments `NAME=VALUE` before the script.
    pub assignments: Vec<usize>,
    /// The program.
    pub script: Script,
    /// The first argument that belongs to the script.
    pub arguments: usize,
}

/// The program of a command, by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// A Python file.
    File(usize),
    /// A Python module with `-m`.
    Module(usize),
    /// Any other program.
    Program(usize),
    /// Code in the command itself, or an empty command.
    Nothing,
}

/// Programs that run their remaining arguments after unknown options, each with a required argument.
const LAUNCHERS: &[(&str, Option<&str>)] = &[
    ("torchrun", None),
    ("accelerate", Some("launch")),
    ("accelerate-launch", None),
    ("deepspeed", None),
    ("srun", None),
    ("mpirun", None),
    ("mpiexec", None),
    ("horovodrun", None),
    ("composer", None),
    ("fabric", Some("run")),
    ("lightning", Some("run")),
    ("uv", Some("run")),
    ("poetry", Some("run")),
    ("pipenv", Some("run")),
    ("pdm", Some("run")),
    ("rye", Some("run")),
    ("hatch", Some("run")),
    ("pixi", Some("run")),
    ("conda", Some("run")),
    ("mamba", Some("run")),
    ("micromamba", Some("run")),
    ("coverage", Some("run")),
    ("singularity", Some("exec")),
    ("apptainer", Some("exec")),
    ("numactl", None),
    ("taskset", None),
    ("chrt", None),
    ("ionice", None),
    ("xvfb-run", None),
    ("wandb", Some("launch")),
    ("kernprof", None),
    ("viztracer", None),
    ("py-spy", Some("record")),
    ("nsys", Some("profile")),
];

/// Modules run with `python -m` that are launchers themselves.
const LAUNCHER_MODULES: &[&str] = &[
    "torch.distributed.run",
    "torch.distributed.launch",
    "accelerate.commands.launch",
    "deepspeed.launcher.runner",
    "cProfile",
    "memory_profiler",
    "kernprof",
    "coverage",
    "pdb",
    "debugpy",
];

/// Wrappers that run their remaining arguments, each with its options that take a value.
const WRAPPERS: &[(&str, &[&str], usize)] = &[
    ("nohup", &[], 0),
    ("time", &["-f", "-o"], 0),
    ("setsid", &[], 0),
    ("nice", &["-n"], 0),
    ("stdbuf", &["-i", "-o", "-e"], 0),
    ("unbuffer", &[], 0),
    ("exec", &[], 0),
    ("command", &[], 0),
    ("caffeinate", &[], 0),
    ("sudo", &["-u", "-g"], 0),
    ("timeout", &["-s", "-k"], 1),
];

/// Takes a command line apart.
pub fn peel(argv: &[String]) -> Peeled {
    let mut peeled = Peeled { assignments: Vec::new(), script: Script::Nothing, arguments: argv.len() };
    let mut at = 0;
    // Each pass consumes at least one argument.
    while let Some(word) = argv.get(at) {
        let name = base(word);
        if is_assignment(word) {
            peeled.assignments.push(at);
            at += 1;
        } else if name == "env" {
            at = env_options(argv, at + 1);
        } else if name == "nextrun" && argv.get(at + 1).is_some_and(|word| word == "run") {
            at = nextrun_options(argv, at + 2);
        } else if let Some((_, valued, operands)) = WRAPPERS.iter().find(|(wrapper, ..)| *wrapper == name) {
            at = options(argv, at + 1, valued) + operands;
        } else if is_python(name) {
            return python(argv, at + 1, peeled);
        } else if let Some((_, verb)) = LAUNCHERS.iter().find(|(launcher, _)| *launcher == name)
            && verb.is_none_or(|verb| argv[at + 1..].iter().any(|word| word == verb))
        {
            let from = verb.and_then(|verb| argv[at..].iter().position(|word| word == verb)).map_or(0, |n| n);
            return launched(argv, at + 1 + from, peeled);
        } else {
            return found(argv, at, peeled);
        }
    }
    peeled
}

/// The last part of a path.
pub(super) fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// Whether a word is `NAME=VALUE` with the name of an environment variable.
pub(super) fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| is_variable(name))
}

fn is_variable(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_python(name: &str) -> bool {
    ["python", "pypy", "ipython", "pythonw"].iter().any(|python| {
        let version = name.strip_prefix(python);
        version.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
    })
}

fn is_script(word: &str) -> bool {
    word.ends_with(".py")
}

fn found(argv: &[String], at: usize, mut peeled: Peeled) -> Peeled {
    peeled.script = if is_script(&argv[at]) { Script::File(at) } else { Script::Program(at) };
    peeled.arguments = at + 1;
    peeled
}

fn options(argv: &[String], mut at: usize, valued: &[&str]) -> usize {
    while let Some(word) = argv.get(at).filter(|word| word.starts_with('-') && word.len() > 1) {
        at += 1 + usize::from(valued.contains(&word.as_str()));
        if word == "--" {
            break;
        }
    }
    at
}

fn env_options(argv: &[String], at: usize) -> usize {
    options(argv, at, &["-u", "--unset", "-C", "--chdir"])
}

fn nextrun_options(argv: &[String], mut at: usize) -> usize {
    while let Some(word) = argv.get(at).filter(|word| word.starts_with('-')) {
        at += 1;
        match word.as_str() {
            "--" => break,
            "--logdir" => at += 1,
            _ => {}
        }
    }
    at
}

/// After the name of an interpreter.
fn python(argv: &[String], mut at: usize, mut peeled: Peeled) -> Peeled {
    while let Some(word) = argv.get(at) {
        match word.as_str() {
            "-m" => {
                let Some(module) = argv.get(at + 1) else { return peeled };
                if LAUNCHER_MODULES.contains(&module.as_str()) {
                    return launched(argv, at + 2, peeled);
                }
                (peeled.script, peeled.arguments) = (Script::Module(at + 1), at + 2);
                return peeled;
            }
            "-c" | "-" => return peeled,
            "-W" | "-X" | "--check-hash-based-pycs" => at += 2,
            option if option.starts_with('-') => at += 1,
            _ => {
                (peeled.script, peeled.arguments) = (Script::File(at), at + 1);
                return peeled;
            }
        }
    }
    peeled
}

/// For a launcher with unknown options, the script is the next argument that looks like one.
fn launched(argv: &[String], from: usize, mut peeled: Peeled) -> Peeled {
    for (at, word) in argv.iter().enumerate().skip(from) {
        let name = base(word);
        if word == "-m" || word == "--module" {
            if argv.get(at + 1).is_some() {
                (peeled.script, peeled.arguments) = (Script::Module(at + 1), at + 2);
            }
            return peeled;
        }
        if is_script(word) {
            return found(argv, at, peeled);
        }
        let known = is_python(name)
            || name == "env"
            || LAUNCHERS.iter().any(|(launcher, verb)| {
                *launcher == name && verb.is_none_or(|verb| argv.get(at + 1).is_some_and(|next| next == verb))
            });
        if known {
            let rest = peel(&argv[at..]);
            peeled.assignments.extend(rest.assignments.iter().map(|place| place + at));
            peeled.arguments = rest.arguments + at;
            peeled.script = match rest.script {
                Script::File(place) => Script::File(place + at),
                Script::Module(place) => Script::Module(place + at),
                Script::Program(place) => Script::Program(place + at),
                Script::Nothing => Script::Nothing,
            };
            return peeled;
        }
    }
    // For a program whose position is known, the first argument that is not an option.
    match argv.iter().enumerate().skip(from).find(|(_, word)| !word.starts_with('-')) {
        Some((at, _)) => found(argv, at, peeled),
        None => peeled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn launchers_are_peeled_off() {
        for (command, script, first) in [
            ("python train.py --lr 1", "train.py", "--lr"),
            ("python3.11 -u -W ignore train.py --lr 1", "train.py", "--lr"),
            ("/venv/bin/python -m pkg.train --lr 1", "pkg.train", "--lr"),
            ("torchrun --nproc_per_node 2 --standalone train.py --lr 1", "train.py", "--lr"),
            ("python -m torch.distributed.run --nnodes=1 train.py --lr 1", "train.py", "--lr"),
            ("accelerate launch --config_file a.yaml train.py --lr 1", "train.py", "--lr"),
            ("accelerate launch -m pkg.train --lr 1", "pkg.train", "--lr"),
            ("deepspeed --num_gpus 2 train.py --lr 1", "train.py", "--lr"),
            ("srun -N 1 --gpus 2 python train.py --lr 1", "train.py", "--lr"),
            ("srun -n1 torchrun --standalone train.py --lr 1", "train.py", "--lr"),
            ("uv run --with x python train.py --lr 1", "train.py", "--lr"),
            ("uv run train.py --lr 1", "train.py", "--lr"),
            ("env -u A LR=1 python train.py --lr 1", "train.py", "--lr"),
            ("LR=1 nohup time -f %e nice -n 5 python train.py --lr 1", "train.py", "--lr"),
            ("timeout -s INT 10m ./train.py --lr 1", "./train.py", "--lr"),
            ("conda run -n env python train.py --lr 1", "train.py", "--lr"),
            ("nextrun run --logdir runs -- python train.py --lr 1", "train.py", "--lr"),
            ("llamafactory-cli train cfg.yaml", "llamafactory-cli", "train"),
        ] {
            let argv = words(command);
            let peeled = peel(&argv);
            let (Script::File(at) | Script::Module(at) | Script::Program(at)) = peeled.script else {
                panic!("{command}: nothing was found")
            };
            assert_eq!((argv[at].as_str(), argv[peeled.arguments].as_str()), (script, first), "{command}");
        }
    }

    #[test]
    fn assignments_before_the_script_are_found_and_those_after_it_are_its_own() {
        assert_eq!(peel(&words("env A=1 B=2 python t.py lr=3")).assignments, [1, 2]);
        assert_eq!(peel(&words("srun env A=1 python t.py lr=3")).assignments, [2]);
        for nothing in ["", "python", "python -c code", "env A=1", "nohup", "srun", "timeout 1"] {
            assert_eq!(
                peel(&words(nothing).into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>()).script,
                Script::Nothing,
                "{nothing}"
            );
        }
    }
}
