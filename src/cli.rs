//! The command line: one file per command.
//!
//! Owns: arguments, printing, exit codes. Must not know: algorithms.

mod backup;
mod cases;
mod config;
mod diagnose;
mod forward;
mod generate;
mod init;
mod login;
mod nearby;
mod notify;
mod outbox;
mod policy;
mod preset;
mod report;
mod run;
mod runner;
mod scalars;
mod silence;
mod store;
mod watch;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand};

use crate::config::{Overrides, Settings, load};
use crate::daemon::{variables, vocabulary, with_causes};
use crate::logdir::{Place, logdir_at};
use crate::screen;
use crate::series::Runs;
use crate::telemetry::{self, LogFormat};
use crate::watch::Watcher;

/// Finds out why a training job does not learn, and suggests the next run.
#[derive(Debug, Parser)]
#[command(
    name = "nextrun",
    version,
    after_help = "Exit codes: 0 success, 1 a job or test failed, 2 error.\n\nTo get started, run: nextrun diagnose LOGDIR"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Increase log verbosity (-vv for everything). RUST_LOG overrides this.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    /// Log format on standard error.
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
    Report(report::Report),
    Login(login::Login),
    Forward(forward::Forward),
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
    #[command(subcommand)]
    Store(store::StoreCommand),
    Scalars(scalars::Scalars),
    Files(scalars::Files),
    Completions(generate::Completions),
    Man(generate::Man),
}

/// Exit status of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// Success.
    Healthy,
    /// A job or test failed.
    Failing,
    /// An error occurred.
    Unable,
    /// The exit code of the command that `nextrun run` ran.
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

/// Runs a command line. The first argument is the program name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // clap also returns help and version texts as errors. If standard output is closed, there is no one to
            // report to.
            let _ = error.print();
            return if error.use_stderr() { Exit::Unable } else { Exit::Healthy }.into();
        }
    };
    let environment = variables();
    let set = |name: &str| environment.get(name).map(String::as_str);
    let is_live = matches!(arguments.command, Command::Watch(_)) && screen::suits(set);
    let live = if is_live { telemetry::Live::Yes } else { telemetry::Live::No };
    let logging = telemetry::init(arguments.verbose, arguments.log, set("RUST_LOG"), set("JOURNAL_STREAM"), live);
    if let Err(error) = logging {
        complain(&error.into());
        return Exit::Unable.into();
    }
    let exit = match &arguments.command {
        Command::Watch(command) => watch::run(command, is_live),
        Command::Runner(command) => runner::run(command),
        Command::Supervise(command) => runner::supervise(command),
        Command::Diagnose(command) => diagnose::run(command),
        Command::Cases(command) => cases::run(command),
        Command::Report(command) => report::run(command),
        Command::Login(command) => login::run(command),
        Command::Forward(command) => forward::run(command),
        Command::Outbox(command) => outbox::run(command),
        Command::Notify(command) => notify::run(command),
        Command::Policy(command) => policy::run(command),
        Command::Silence(command) => silence::run(command),
        Command::Preset(command) => preset::run(command),
        Command::Config(command) => config::run(command),
        Command::Init(command) => init::run(command),
        Command::Run(command) => run::run(command),
        Command::Backup(command) => backup::run(command),
        Command::Store(command) => store::run(command),
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

/// The reader of standard output closed the pipe, for example `head`.
fn closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

#[expect(clippy::print_stderr, reason = "errors must be visible even if logging is off")]
fn complain(error: &anyhow::Error) {
    // A mistake in a file is reported on several lines.
    let told = with_causes(error);
    eprintln!("error: {}", told.lines().map(plain).collect::<Vec<_>>().join("\n"));
}

/// The settings of a command.
fn settings(file: Option<&Path>, overrides: &Overrides) -> anyhow::Result<Settings> {
    Ok(load(file, overrides, &variables(), &vocabulary())?)
}

/// Parses the location of a log directory on the command line.
fn place() -> impl TypedValueParser<Value = Place> {
    OsStringValueParser::new().try_map(Place::parse)
}

/// A watcher for an existing, readable log directory.
fn watcher_of(place: &Place) -> anyhow::Result<Watcher> {
    let logdir = logdir_at(place, &variables())?;
    logdir.check()?;
    Ok(Watcher::of(logdir))
}

/// All current runs in a log directory.
fn runs_of(logdir: &Place) -> anyhow::Result<Runs> {
    let mut watcher = watcher_of(logdir)?;
    for problem in watcher.poll(crate::daemon::now()).problems {
        tracing::warn!("{problem}");
    }
    Ok(watcher.into_runs())
}

/// Makes untrusted text from event files and receivers safe to print: control characters must not reach a terminal, and
/// line breaks must not start lines that look like nextrun's own output.
fn plain(text: &str) -> String {
    let shown = |c| match c {
        '\n' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}
