//! The command line: one file a command.
//!
//! Owns: arguments, printing, exit codes. Must not know: algorithms.

mod backup;
mod cases;
mod config;
mod diagnose;
mod generate;
mod init;
mod nearby;
mod notify;
mod outbox;
mod policy;
mod preset;
mod run;
mod runner;
mod scalars;
mod silence;
mod watch;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand};

use crate::config::{Overrides, Settings, load};
use crate::daemon::{variables, vocabulary, with_causes};
use crate::logdir::{Place, logdir_at};
use crate::series::Runs;
use crate::telemetry::{self, LogFormat};
use crate::watch::Watcher;

/// Finds out why a training job does not learn, and suggests the next run.
#[derive(Debug, Parser)]
#[command(
    name = "nextrun",
    version,
    after_help = "Exit codes: 0 all is well, 1 something was found (a failing job, a failing test), 2 it could not be done.\n\nStart with: nextrun diagnose LOGDIR"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Log more; twice: everything. RUST_LOG has the last word.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    /// How to log to standard error.
    #[arg(long, value_enum, default_value_t, global = true)]
    log: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    Watch(watch::Watch),
    Runner(runner::Runner),
    #[command(hide = true)]
    Supervise(runner::Supervise),
    Diagnose(diagnose::Diagnose),
    #[command(subcommand)]
    Cases(cases::Cases),
    #[command(subcommand)]
    Outbox(outbox::OutboxCommand),
    #[command(subcommand)]
    Notify(notify::Notify),
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    #[command(subcommand)]
    Silence(silence::SilenceCommand),
    #[command(subcommand)]
    Preset(preset::PresetCommand),
    #[command(subcommand)]
    Config(config::ConfigCommand),
    Init(init::Init),
    Run(run::Run),
    Backup(backup::Backup),
    Scalars(scalars::Scalars),
    Files(scalars::Files),
    Completions(generate::Completions),
    Man(generate::Man),
}

/// What the process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// All is well.
    Healthy,
    /// Something was found: a failing job, a failing test.
    Failing,
    /// It could not be done.
    Unable,
    /// What a command that was run ended with.
    As(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Healthy => 0,
            Exit::Failing => 1,
            Exit::Unable => 2,
            Exit::As(code) => code,
        })
    }
}

/// Runs one command line, the name of the program first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come as errors too; where standard output is closed there is nobody to tell.
            let _ = error.print();
            return if error.use_stderr() { Exit::Unable } else { Exit::Healthy }.into();
        }
    };
    let environment = variables();
    let set = |name: &str| environment.get(name).map(String::as_str);
    if let Err(error) = telemetry::init(arguments.verbose, arguments.log, set("RUST_LOG"), set("JOURNAL_STREAM")) {
        complain(&error.into());
        return Exit::Unable.into();
    }
    let exit = match &arguments.command {
        Command::Watch(command) => watch::run(command),
        Command::Runner(command) => runner::run(command),
        Command::Supervise(command) => runner::supervise(command),
        Command::Diagnose(command) => diagnose::run(command),
        Command::Cases(command) => cases::run(command),
        Command::Outbox(command) => outbox::run(command),
        Command::Notify(command) => notify::run(command),
        Command::Policy(command) => policy::run(command),
        Command::Silence(command) => silence::run(command),
        Command::Preset(command) => preset::run(command),
        Command::Config(command) => config::run(command),
        Command::Init(command) => init::run(command),
        Command::Run(command) => run::run(command),
        Command::Backup(command) => backup::run(command),
        Command::Scalars(command) => scalars::run(command),
        Command::Files(command) => scalars::run_files(command),
        Command::Completions(command) => generate::run_completions(command),
        Command::Man(command) => generate::run_man(command),
    };
    match exit {
        Ok(exit) => exit.into(),
        Err(error) if closed_pipe(&error) => Exit::Healthy.into(),
        Err(error) => {
            complain(&error);
            Exit::Unable.into()
        }
    }
}

/// The reader of standard output has seen enough, as `head` has.
fn closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

#[expect(clippy::print_stderr, reason = "what the user must read goes to standard error, logged or not")]
fn complain(error: &anyhow::Error) {
    // A mistake in a file is told on several lines.
    let told = with_causes(error);
    eprintln!("error: {}", told.lines().map(plain).collect::<Vec<_>>().join("\n"));
}

/// The settings of a command.
fn settings(file: Option<&Path>, overrides: &Overrides) -> anyhow::Result<Settings> {
    Ok(load(file, overrides, &variables(), &vocabulary())?)
}

/// Where a log directory is, on the command line.
fn place() -> impl TypedValueParser<Value = Place> {
    OsStringValueParser::new().try_map(Place::parse)
}

/// A watcher of a log directory that is there and can be read.
fn watcher_of(place: &Place) -> anyhow::Result<Watcher> {
    let logdir = logdir_at(place, &variables())?;
    logdir.check()?;
    Ok(Watcher::of(logdir))
}

/// Everything that a log directory holds now.
fn runs_of(logdir: &Place) -> anyhow::Result<Runs> {
    let mut watcher = watcher_of(logdir)?;
    for problem in watcher.poll(crate::daemon::now()).problems {
        tracing::warn!("{problem}");
    }
    Ok(watcher.into_runs())
}

/// Text from event files and receivers is data: its control characters must not reach a terminal, and its line ends must
/// not begin lines that seem to be ours.
fn plain(text: &str) -> String {
    let shown = |c| match c {
        '\n' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}
