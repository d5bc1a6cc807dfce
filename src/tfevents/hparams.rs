//! `HParamsPluginData`: the hyperparameters and the end of a session, as written by `add_hparams` and Keras.
//!
//! Owns: that message and the `google.protobuf.Value`s in it. Must not know: which names are knobs.

use serde_json::Value as Json;

use super::wire::{Field, Fields, Malformed};

/// The data of the hparams plugin in the metadata of its tags.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Hparams<'a> {
    start: &'a [u8],
    end: Option<SessionEnd>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct SessionEnd {
    success: Option<bool>,
    time: f64,
}

impl<'a> Hparams<'a> {
    pub(super) fn parse(content: &'a [u8]) -> Result<Hparams<'a>, Malformed> {
        let mut hparams = Hparams::default();
        for field in Fields::new(content) {
            match field? {
                (3, Field::Bytes(start)) => hparams.start = start,
                (4, Field::Bytes(end)) => hparams.end = Some(session_end(end)?),
                _ => {}
            }
        }
        if hparams.entries().any(|entry| entry.is_err()) { Err(Malformed) } else { Ok(hparams) }
    }

    /// The hyperparameters of the session by the names that the program gave them.
    pub fn values(&self) -> impl Iterator<Item = (String, Json)> + use<'a> {
        self.entries().filter_map(Result::ok)
    }

    fn entries(&self) -> impl Iterator<Item = Result<(String, Json), Malformed>> + use<'a> {
        Fields::new(self.start).filter_map(|field| match field {
            Ok((1, Field::Bytes(entry))) => Some(map_entry(entry)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
    }

    /// When the session ended and whether it ended well, if this says so. The time is 0 where it was left out.
    pub fn session_end(&self) -> Option<(f64, Option<bool>)> {
        self.end.map(|end| (end.time, end.success))
    }
}

fn session_end(message: &[u8]) -> Result<SessionEnd, Malformed> {
    let mut end = SessionEnd { success: None, time: 0.0 };
    for field in Fields::new(message) {
        match field? {
            (1, Field::Varint(1)) => end.success = Some(true),
            (1, Field::Varint(2)) => end.success = Some(false),
            (2, Field::Fixed64(bytes)) => end.time = f64::from_le_bytes(bytes),
            _ => {}
        }
    }
    Ok(end)
}

fn map_entry(message: &[u8]) -> Result<(String, Json), Malformed> {
    let (mut name, mut value) = (String::new(), Json::Null);
    for field in Fields::new(message) {
        match field? {
            (1, Field::Bytes(bytes)) => name = String::from_utf8_lossy(bytes).into_owned(),
            (2, Field::Bytes(bytes)) => value = json(bytes)?,
            _ => {}
        }
    }
    Ok((name, value))
}

/// `google.protobuf.Value`. Lists and structures do not occur as hyperparameters and become null.
fn json(message: &[u8]) -> Result<Json, Malformed> {
    let mut value = Json::Null;
    for field in Fields::new(message) {
        match field? {
            (2, Field::Fixed64(bytes)) => value = json_number(f64::from_le_bytes(bytes)),
            (3, Field::Bytes(text)) => value = String::from_utf8_lossy(text).into(),
            (4, Field::Varint(truth)) => value = (truth != 0).into(),
            _ => {}
        }
    }
    Ok(value)
}

/// The message knows only doubles: a whole one is given back as the integer that it nearly always was. JSON has no
/// NaN or infinity; they become text.
fn json_number(number: f64) -> Json {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        (number as i64).into()
    } else {
        serde_json::Number::from_f64(number).map_or_else(|| number.to_string().into(), Json::Number)
    }
}
