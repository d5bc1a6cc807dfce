//! The lines at the bottom of a terminal that are drawn again and again, and what is written above them.
//!
//! Owns: drawing. Must not know: what the lines say. Where nothing is drawn, everything is written as it comes.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

/// What is drawn, while something is.
static DRAWN: Mutex<Option<Drawn>> = Mutex::new(None);

struct Drawn {
    all: MultiProgress,
    bar: ProgressBar,
    lines: Vec<ProgressBar>,
}

fn drawn() -> MutexGuard<'static, Option<Drawn>> {
    // Each change is whole, so that a panic elsewhere leaves nothing half done.
    DRAWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether lines can be drawn again: both outputs are a terminal that moves its cursor, and no program reads along.
/// `variable` looks a variable of the environment up.
pub fn suits<'v>(variable: impl Fn(&str) -> Option<&'v str>) -> bool {
    io::stdout().is_terminal() && io::stderr().is_terminal() && moves_its_cursor(variable)
}

fn moves_its_cursor<'v>(variable: impl Fn(&str) -> Option<&'v str>) -> bool {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    set("CI").is_none() && set("TERM").is_some_and(|term| term != "dumb")
}

/// Begins to draw.
pub fn open() {
    let all = MultiProgress::new();
    let bar = all.add(ProgressBar::new(0).with_style(style("{spinner} {wide_msg}")));
    *drawn() = Some(Drawn { all, bar, lines: Vec::new() });
}

/// Ends drawing; what was drawn is taken away.
pub fn close() {
    if let Some(drawn) = drawn().take() {
        drop(drawn.all.clear());
    }
}

/// Draws how far something is that takes a while: `done` of `all` bytes, where `all` is known.
pub fn progress(what: &str, done: u64, all: u64) {
    let drawn = drawn();
    let Some(Drawn { bar, .. }) = drawn.as_ref() else { return };
    if all == 0 {
        bar.set_style(style("{spinner} {wide_msg} {elapsed}"));
        bar.set_message(what.to_owned());
    } else {
        bar.set_style(style("{spinner} {bar:30} {msg} {elapsed}"));
        bar.set_length(all);
        bar.set_position(done.min(all));
        bar.set_message(format!("{what}: {} of {}", HumanBytes(done.min(all)), HumanBytes(all)));
    }
    bar.tick();
}

/// Draws these lines in the place of those before.
pub fn show(lines: &[String]) {
    let mut drawn = drawn();
    let Some(Drawn { all, bar, lines: shown }) = drawn.as_mut() else { return };
    if !bar.is_finished() {
        bar.finish_and_clear();
        all.remove(bar);
    }
    while shown.len() > lines.len() {
        if let Some(line) = shown.pop() {
            line.finish_and_clear();
            all.remove(&line);
        }
    }
    while shown.len() < lines.len() {
        shown.push(all.add(ProgressBar::new(0).with_style(style("{wide_msg}"))));
    }
    for (line, text) in shown.iter().zip(lines) {
        line.set_message(text.clone());
        line.tick();
    }
}

/// One of the templates of this file, which are all valid.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Writes above what is drawn.
#[derive(Debug)]
pub struct Above<W>(pub W);

impl<W: Write> Write for Above<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.write_all(text)?;
        Ok(text.len())
    }

    fn write_all(&mut self, text: &[u8]) -> io::Result<()> {
        match drawn().as_ref() {
            Some(drawn) => drawn.all.suspend(|| self.0.write_all(text).and_then(|()| self.0.flush())),
            None => self.0.write_all(text),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_drawn_where_a_program_reads_along() {
        for (term, ci, suits) in [
            (Some("xterm-256color"), None, true),
            (Some("xterm"), Some(""), true),
            (Some("xterm"), Some("true"), false),
            (Some("dumb"), None, false),
            (None, None, false),
        ] {
            let variable = |name: &str| if name == "CI" { ci } else { term };
            assert_eq!(moves_its_cursor(variable), suits, "{term:?} {ci:?}");
        }
    }

    #[test]
    fn what_is_written_arrives_whether_something_is_drawn_or_not() {
        let mut written = Vec::new();
        writeln!(Above(&mut written), "before").unwrap();
        open();
        progress("reading", 1, 2);
        show(&["one line".to_owned()]);
        writeln!(Above(&mut written), "meanwhile").unwrap();
        close();
        writeln!(Above(&mut written), "after").unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), "before\nmeanwhile\nafter\n");
    }
}
