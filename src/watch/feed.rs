//! Converts the records of one file to the data of its run.
//!
//! Owns: the effect of each event. Must not know: files.

use crate::series::{Point, RunData, SessionMark};
use crate::tfevents::{Datum, Event, Hparams, Session, Templates, Value, Values, What};

/// What is remembered between the records of one file.
#[derive(Debug, Clone, Default)]
pub(super) struct Feed {
    templates: Templates,
    /// Records with good checksums that are no events.
    undecodable: u64,
    /// Scalars of tags beyond the limit of a run.
    ignored: u64,
}

/// The time of an event that has none is NaN.
fn usable(wall_time: f64) -> f64 {
    if wall_time.is_finite() { wall_time } else { f64::NAN }
}

impl Feed {
    pub(super) fn undecodable(&self) -> u64 {
        self.undecodable
    }

    pub(super) fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Takes one record. `data` must be the same from record to record; [`RunData::settle`] is owed at the end.
    #[inline(always)]
    pub(super) fn record(&mut self, record: &[u8], data: &mut RunData) {
        match self.templates.recognise(record) {
            Some(hit) => data.scalar_of_many(hit.slot, hit.step, hit.wall_time, hit.value),
            None => self.decode(record, data),
        }
    }

    #[cold]
    fn decode(&mut self, record: &[u8], data: &mut RunData) {
        let Ok(event) = Event::parse(record) else {
            self.undecodable += 1;
            return;
        };
        match event.what {
            What::Summary(summary) => self.summary(record, &event, summary.values(), data),
            What::Session(Session::Start) => {
                data.event(event.wall_time);
                data.restart(event.step);
            }
            What::Session(Session::Stop) => {
                data.event(event.wall_time);
                data.session_ended(SessionMark { wall_time: event.wall_time, success: None });
            }
            What::Session(Session::Other) | What::FileVersion(_) | What::Other => data.event(event.wall_time),
        }
    }

    fn summary(&mut self, record: &[u8], event: &Event<'_>, values: Values<'_>, data: &mut RunData) {
        let mut rest = values;
        match (rest.next(), rest.next()) {
            (Some(Ok(value)), None) => {
                data.event(event.wall_time);
                self.value(record, event, value, data);
            }
            // An event that is malformed further on is not taken by halves.
            _ if { values }.any(|value| value.is_err()) => self.undecodable += 1,
            _ => {
                data.event(event.wall_time);
                values.filter_map(Result::ok).for_each(|value| self.value(record, event, value, data));
            }
        }
    }

    fn value(&mut self, record: &[u8], event: &Event<'_>, value: Value<'_>, data: &mut RunData) {
        let wall_time = usable(event.wall_time);
        match value.datum {
            Datum::Scalar(number) => {
                let Some(id) = data.tag_id(&value.tag) else {
                    self.ignored += 1;
                    return;
                };
                self.templates.learn(record, id.slot());
                data.scalar_of_event(id, Point { step: event.step, wall_time, value: number });
            }
            Datum::Histogram(moments) => data.histogram(&value.tag, event.step, wall_time, moments),
            Datum::Text(text) => data.text(&value.tag, &text),
            Datum::Hparams(hparams) => take_hparams(event.wall_time, hparams, data),
            Datum::Other => {}
        }
    }
}

fn take_hparams(wall_time: f64, hparams: Hparams<'_>, data: &mut RunData) {
    for (name, value) in hparams.values() {
        data.hyperparameter(&name, value);
    }
    if let Some((time, success)) = hparams.session_end() {
        // The mark is made before the event that carries it; nothing was logged in between.
        data.session_ended(SessionMark { wall_time: time.max(wall_time), success });
    }
}
