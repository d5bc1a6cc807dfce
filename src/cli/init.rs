//! `nextrun init`: finds the options of a script and writes the configuration.
//!
//! Owns: prompts, output, the file. Must not know: how options are matched to knobs.

mod report;
mod start;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use self::start::{Jobs, Start};
use super::{Exit, nearby, place, plain};
use crate::command::{Printed, Survey, shell};
use crate::config::parse_duration;
use crate::daemon::vocabulary;
use crate::launch::{ask, child, survey};
use crate::logdir::Place;
use crate::setup::{self, Logged, Plan, Proof};

/// Find out which options a training script has, and write a configuration for it.
///
/// nextrun reads the script's source as text. It runs the script only with --may-run or --try, or after you confirm on
/// a terminal.
#[derive(Debug, Args)]
#[command(
    after_help = "Uses COMMAND if given, otherwise the command of a running job, otherwise the command of the newest \
        job that `nextrun run` recorded.\n\nExamples:\n  nextrun init runs -- python train.py --lr 0.1 --logdir \
        runs/a\n  nextrun init runs --try\n  nextrun init runs --sweep sweep.yaml"
)]
pub(super) struct Init {
    /// The log directory.
    #[arg(value_parser = place())]
    logdir: Place,
    /// The configuration file to write.
    #[arg(short, long, value_name = "FILE", default_value = "nextrun.yaml")]
    output: PathBuf,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
    /// Run the script with --help (or --cfg job, or --print_config) to find options that its source does not show.
    #[arg(long)]
    may_run: bool,
    /// Run two steps of an experiment to verify that its settings take effect.
    #[arg(long = "try")]
    try_it: bool,
    /// Timeout for the two steps.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "3m")]
    try_for: Duration,
    /// Take the command from a W&B sweep file.
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    sweep: Option<PathBuf>,
    /// The command that starts the script, as you would type it.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(super) fn run(arguments: &Init) -> anyhow::Result<Exit> {
    let Place::Disk(folder) = &arguments.logdir else {
        bail!("`nextrun init` needs a local log directory: pass the directory that the script writes to");
    };
    if arguments.output.exists() && !arguments.force {
        bail!("{} exists; choose another file with --output, or replace it with --force", arguments.output.display());
    }
    // The command creates its log directory.
    let given = !arguments.command.is_empty() || arguments.sweep.is_some();
    if !given || folder.exists() {
        nearby::meant(&arguments.logdir)?;
    }
    let logdir = std::path::absolute(folder)?;
    let logdir = logdir.canonicalize().unwrap_or(logdir);
    let logdir_text = logdir.to_str().context("the path of the log directory is not UTF-8")?;
    let jobs = Jobs::read(&logdir)?;
    let start = Start::find(&arguments.command, arguments.sweep.as_deref(), &logdir, &jobs)?;
    let logged = jobs.logged(start.run.as_deref());
    let mut out = io::stdout().lock();
    let survey = look(arguments, &start, &mut out)?;
    let plan = setup::plan(survey, &logged, logdir_text);
    report::print(&mut out, &plan, &start.from)?;
    let tried = try_it(arguments, &plan, &start, &mut out)?;
    write(arguments, &plan, &mut out)?;
    Ok(if tried { Exit::Healthy } else { Exit::Failing })
}

/// Reads the script. Runs it to list its options if permitted.
fn look(arguments: &Init, start: &Start, out: &mut impl Write) -> anyhow::Result<Survey> {
    let read = |printed: &[Printed]| survey(start.source, &start.argv, &start.cwd, &start.env, printed);
    let survey = read(&[]);
    let Some(question) = ask::question(&start.argv, survey.style) else { return Ok(survey) };
    let line = question.iter().map(|word| shell(word)).collect::<Vec<_>>().join(" ");
    let has = |knob: &str| survey.launched.flags.iter().any(|flag| flag.knob == knob);
    let lacking = !has("learning_rate") || (!has("max_steps") && !has("epochs"));
    let allowed = arguments.may_run
        || (lacking && asked(&format!("The source shows few options. Run `{}` to list them?", plain(&line)))?);
    if !allowed {
        if lacking {
            writeln!(
                out,
                "The source shows few options. With --may-run, nextrun runs `{}` to list them.",
                plain(&line)
            )?;
        }
        return Ok(survey);
    }
    match ask::ask(question, survey.style, &start.cwd, &start.env) {
        Ok(printed) => Ok(read(&[printed])),
        Err(error) => {
            writeln!(out, "`{}` did not list its options: {error}", plain(&line))?;
            Ok(survey)
        }
    }
}

/// Asks for confirmation on a terminal. Elsewhere, the answer is no.
fn asked(question: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(false);
    }
    write!(io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}

/// Runs two steps if permitted. Returns `false` if they revealed a problem.
fn try_it(arguments: &Init, plan: &Plan, start: &Start, out: &mut impl Write) -> anyhow::Result<bool> {
    if !arguments.try_it && !asked("Run two steps of an experiment now to verify that its settings take effect?")? {
        return Ok(true);
    }
    let scratch = tempfile::Builder::new().prefix("nextrun-init-").tempdir()?;
    let folder = scratch.path().canonicalize()?;
    // Relative to the log directory, like the name of every run.
    let up = "../".repeat(plan.logdir.split('/').filter(|part| !part.is_empty()).count());
    let run_name = format!("{up}{}/run", folder.display().to_string().trim_start_matches('/'));
    let trial = match setup::trial(plan, &run_name) {
        Ok(trial) => trial,
        Err(why) => {
            writeln!(out, "\nNothing was run: {why}")?;
            return Ok(false);
        }
    };
    let run = folder.join("run");
    writeln!(out, "\nRunning two steps: {}", plain(&report::line(&trial.command.words())))?;
    out.flush()?;
    for (path, text) in &trial.command.files {
        let path = Path::new(path);
        path.parent().map(std::fs::create_dir_all).transpose()?;
        std::fs::write(path, text)?;
    }
    let mut env = start.env.clone();
    trial.command.unset.iter().for_each(|name| drop(env.remove(name)));
    env.extend(trial.variables(&run_name, &run.display().to_string()));
    let short = child::Short { argv: trial.command.argv.clone(), cwd: start.cwd.clone(), env };
    let ran = match short.train(folder.clone(), arguments.try_for) {
        Ok(ran) => ran,
        Err(error) => {
            writeln!(out, "  wrong    it could not be started: {error}")?;
            return Ok(false);
        }
    };
    let logged = ran.folders.iter().find_map(|folder| Jobs::read(folder).ok()?.first());
    let proofs = setup::proofs(&trial, logged.as_ref(), ran.code);
    report::print_proofs(out, &proofs)?;
    let bad = proofs.iter().any(|proof: &Proof| proof.good == Some(false));
    if bad {
        report::print_tail(out, &ran.output)?;
    }
    for left in ran.folders.iter().filter(|left| !left.starts_with(&folder)) {
        writeln!(
            out,
            "  The run created its own directory, which you can delete: {}",
            plain(&left.display().to_string())
        )?;
    }
    Ok(!bad)
}

fn write(arguments: &Init, plan: &Plan, out: &mut impl Write) -> anyhow::Result<()> {
    let written = setup::configuration(plan);
    let folder = arguments.output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let origin = arguments.output.display().to_string();
    if let Err(problems) = crate::config::parse(&written.text, &origin, folder, &vocabulary()) {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        bail!("the generated configuration is not valid, so nothing was written:\n{}", problems.join("\n"));
    }
    let mut file =
        tempfile::NamedTempFile::new_in(folder).with_context(|| format!("could not write {}", folder.display()))?;
    file.write_all(written.text.as_bytes())?;
    if arguments.force {
        file.persist(&arguments.output)?;
    } else {
        file.persist_noclobber(&arguments.output)?;
    }
    writeln!(out, "\nWritten: {}", arguments.output.display())?;
    if let Some(why) = written.no_command {
        writeln!(
            out,
            "It has no `launch.command`: {}. Jobs started with `nextrun run -- COMMAND` do not need one.",
            plain(&why)
        )?;
    }
    writeln!(out, "Next: nextrun watch --config {} --runner", arguments.output.display())?;
    Ok(())
}

impl Jobs {
    fn first(&self) -> Option<Logged> {
        self.logged(None).into_iter().next()
    }
}
