//! What a run was and how it went, for a person.
//!
//! Owns: the words. Must not know: in which order runs come.

use serde_json::{Map, Value};

use crate::curve;
use crate::support::queue::Trained;
use crate::terminal::Terminal;

/// Fewer values than this are no curve to look at.
const LEAST_POINTS: usize = 8;
/// A change by less than this many orders of magnitude is none.
const LEAST_CHANGE: f32 = 0.3;

/// A run's loss, or how it crashed.
pub(crate) fn show_run(terminal: &Terminal, run: &Trained) {
    let losses = match &run.losses {
        Ok(losses) => losses,
        Err(error) => return terminal.text(&format!("crashed: {error}")),
    };
    if losses.iter().filter(|loss| loss.is_finite()).count() >= LEAST_POINTS {
        for line in curve::draw(losses) {
            terminal.line(&line);
        }
    }
    terminal.line(&format!("{}; {} steps in {:.1} s", outcome(losses), losses.len(), run.took.as_secs_f32()));
}

fn outcome(losses: &[f32]) -> String {
    let (start, end) = (curve::short(curve::start(losses)), curve::short(curve::end(losses)));
    if let Some(step) = losses.iter().position(|loss| !loss.is_finite()) {
        return format!("the loss is NaN from step {step} on");
    }
    match curve::orders_fallen(losses) {
        orders if orders >= LEAST_CHANGE => format!("loss {start} to {end}: fell by {orders:.1} orders of magnitude"),
        orders if orders <= -LEAST_CHANGE => format!("loss {start} to {end}: rose by {:.1} orders", -orders),
        _ => format!("loss {start} to {end}: did not fall"),
    }
}

/// Overrides as a person writes them.
pub(crate) fn changes(overrides: &Map<String, Value>) -> String {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let list: Vec<String> = overrides.iter().map(|(knob, value)| format!("{knob}={}", plain(value))).collect();
    if list.is_empty() { "no changes".to_owned() } else { list.join("  ") }
}
