//! Trains a case.
//!
//! Owns: which program a case is, and what overrides mean to it. Must not know: what is expected of it.

use std::path::Path;

use serde_json::{Map, Value};

use crate::cases::{Case, Data, Schedule};
use crate::record::{Recorder, Summary};
use crate::subject::Subject;
use crate::trainer::log::RunLog;
use crate::trainer::training;
use crate::{adversaries, corridor};

/// Trains a case with changed knobs into a directory. Who sets `lr_decay` gets that decay and no other schedule than
/// the case's warm-up.
///
/// # Errors
/// When a knob cannot be set, or the program crashes; what it logged until then remains.
pub(crate) fn train(case: &Case, overrides: &Map<String, Value>, directory: &Path) -> anyhow::Result<Summary> {
    let knobs = case.knobs(overrides)?;
    match case.task {
        Data::Adversaries => {
            return Ok(adversaries::train(case.habits, &knobs, &mut RunLog::create(directory, &knobs)?)?);
        }
        Data::Corridor => return Ok(corridor::train(case.habits, &knobs, &mut RunLog::create(directory, &knobs)?)?),
        _ => {}
    }
    let schedule = match overrides.contains_key("lr_decay") {
        true => Schedule { warm_up: case.schedule.warm_up, ..Schedule::default() },
        false => case.schedule.clone(),
    };
    let validator = Subject::new(case, knobs.seed, schedule.clone());
    let mut recorder = Recorder::create(directory, validator, &knobs, (case.habits, case.fault))?;
    training::train(&mut Subject::new(case, knobs.seed, schedule), &knobs, &mut recorder)?;
    Ok(recorder.summary)
}
