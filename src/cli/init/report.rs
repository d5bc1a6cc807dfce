//! Output of `nextrun init`.

use std::io::{self, Write};

use crate::cli::plain;
use crate::command::{Placed, masked, shell};
use crate::setup::{Plan, Proof};

/// Number of lines shown from the output of a failed run.
const TAIL: usize = 12;

/// A command line for people, with secrets masked.
pub(super) fn line(argv: &[String]) -> String {
    masked(argv).iter().map(|word| shell(word)).collect::<Vec<_>>().join(" ")
}

/// Prints the results.
pub(super) fn print(out: &mut impl Write, plan: &Plan, from: &str) -> io::Result<()> {
    writeln!(out, "command     {}  ({})", plain(&line(&plan.launched.argv)), plain(from))?;
    let options = match plan.options {
        0 => "no options".to_owned(),
        1 => "1 option".to_owned(),
        number => format!("{number} options"),
    };
    let parser = plan.style.parser.map_or(String::new(), |parser| format!(", read by {parser}"));
    let library = plan.style.library.map_or(String::new(), |library| format!("; trains with {library}"));
    writeln!(out, "script      {options}{parser}{library}")?;
    writeln!(out, "logs to     {}", placed(plan))?;
    for mapping in &plan.mappings {
        let knob = &mapping.flag.knob;
        writeln!(out, "{:11} {}: {}", mapping.grade.word(), knob, plain(&mapping.evidence.join("; ")))?;
    }
    if !plan.absent.is_empty() {
        writeln!(out, "absent      {}: experiments that need them are skipped", plan.absent.join(", "))?;
    }
    if !plan.examples.is_empty() {
        writeln!(out, "\nExample experiments:")?;
    }
    for example in &plan.examples {
        match &example.command {
            Ok(rewritten) => {
                writeln!(out, "  {}\n    {}", example.title, plain(&line(&rewritten.words())))?;
                let files = rewritten.files.keys().map(|path| plain(path)).collect::<Vec<_>>();
                if !files.is_empty() {
                    writeln!(out, "    with a changed copy of the configuration in {}", files.join(", "))?;
                }
            }
            Err(why) => writeln!(out, "  {}\n    not possible with this script: {}", example.title, plain(why))?,
        }
    }
    Ok(())
}

fn placed(plan: &Plan) -> String {
    match plan.placed {
        Placed::Redirected => "a directory named in the command; experiments get their own".to_owned(),
        Placed::MakesItsOwn => "a new directory for each run, created by the script".to_owned(),
        Placed::WouldOverwrite => {
            "a directory that the command does not name, so an experiment would overwrite its baseline; nextrun \
             starts no experiments for it. Add an option such as --logdir to the script"
                .to_owned()
        }
    }
}

/// Prints the result of the two steps.
pub(super) fn print_proofs(out: &mut impl Write, proofs: &[Proof]) -> io::Result<()> {
    for proof in proofs {
        let word = match proof.good {
            Some(true) => "right",
            Some(false) => "wrong",
            None => "unseen",
        };
        writeln!(out, "  {word:8} {}", plain(&proof.what))?;
    }
    Ok(())
}

/// The last lines of a run's output.
pub(super) fn print_tail(out: &mut impl Write, output: &str) -> io::Result<()> {
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "  Its last lines:")?;
    for line in &lines[lines.len().saturating_sub(TAIL)..] {
        writeln!(out, "    {}", plain(line))?;
    }
    Ok(())
}
