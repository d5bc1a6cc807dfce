//! Whether it is a quiet period, and until when.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

use crate::config::{Quiet, Span};

/// Consecutive quiet periods without a gap count as one, up to this number.
const MOST_IN_A_ROW: usize = 100;

/// The end of the quiet period that contains `now`, in seconds since the Unix epoch, and the first period of it; `None`
/// if there is none. Adjacent periods count as one.
pub fn quiet_until(quiet: &[Quiet], now: f64) -> Option<(f64, &Quiet)> {
    let end_at = |time: f64| {
        let ends = quiet.iter().filter_map(|quiet| Some((end(quiet, time)?, quiet)));
        ends.max_by(|a, b| a.0.total_cmp(&b.0))
    };
    let (mut until, first) = end_at(now)?;
    for _ in 0..MOST_IN_A_ROW {
        match end_at(until) {
            Some((later, _)) if later > until => until = later,
            _ => break,
        }
    }
    Some((until, first))
}

/// The end of a quiet period, if it contains `now`.
fn end(quiet: &Quiet, now: f64) -> Option<f64> {
    // `as` saturates, and jiff rejects values out of its range.
    let here = Timestamp::from_millisecond((now * 1000.0) as i64).ok()?.to_zoned(quiet.zone.clone());
    let begins_and_ends = match &quiet.span {
        Span::Once { from, to } => vec![(seconds(*from, &quiet.zone)?, seconds(*to, &quiet.zone)?)],
        Span::Daily { days, from, to } => {
            let overnight = i64::from(to <= from);
            // One that began yesterday may last until today.
            let dates = [0, 1].into_iter().filter_map(|back| here.date().checked_sub(back.days()).ok());
            let begin = |day: Weekday| days.is_empty() || days.contains(&day);
            dates
                .filter(|date| begin(date.weekday()))
                .filter_map(|date| {
                    let last = date.checked_add(overnight.days()).ok()?;
                    let begin = seconds(date.to_datetime(*from), &quiet.zone)?;
                    Some((begin, seconds(last.to_datetime(*to), &quiet.zone)?))
                })
                .collect()
        }
    };
    let within = begins_and_ends.into_iter().filter(|(begin, end)| (*begin..*end).contains(&now));
    within.map(|(_, end)| end).max_by(f64::total_cmp)
}

/// A wall-clock time. If a clock change skips it, the moment after the change, as in jiff.
fn seconds(time: jiff::civil::DateTime, zone: &TimeZone) -> Option<f64> {
    let zoned: Zoned = time.to_zoned(zone.clone()).ok()?;
    Some(zoned.timestamp().as_millisecond() as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use jiff::civil::{Time, date, time};

    use super::*;

    fn berlin() -> TimeZone {
        TimeZone::get("Europe/Berlin").unwrap()
    }

    fn daily(days: &[Weekday], from: Time, to: Time) -> Quiet {
        Quiet { span: Span::Daily { days: days.to_vec(), from, to }, zone: berlin(), why: None }
    }

    fn at(text: &str) -> f64 {
        text.parse::<Timestamp>().unwrap().as_second() as f64
    }

    fn until(quiet: &[Quiet], now: &str) -> Option<String> {
        let (end, _) = quiet_until(quiet, at(now))?;
        Some(Timestamp::from_second(end as i64).unwrap().to_string())
    }

    #[test]
    fn nights_weekends_and_maintenance_meet() {
        let night = daily(&[], time(22, 0, 0, 0), time(7, 0, 0, 0));
        let weekend = daily(&[Weekday::Saturday, Weekday::Sunday], Time::midnight(), Time::midnight());
        let from = date(2026, 11, 25).at(12, 0, 0, 0);
        let once = Quiet { span: Span::Once { from, to: from + 2.hours() }, zone: berlin(), why: None };
        // Standard time: Berlin is one hour ahead of UTC. 2026-11-23 is a Monday.
        for (now, end) in [
            ("2026-11-23T12:00:00Z", None),
            ("2026-11-23T20:59:59Z", None),
            ("2026-11-23T21:00:00Z", Some("2026-11-24T06:00:00Z")),
            ("2026-11-24T05:59:59Z", Some("2026-11-24T06:00:00Z")),
            ("2026-11-24T06:00:00Z", None),
            ("2026-11-25T12:59:00Z", Some("2026-11-25T13:00:00Z")),
            ("2026-11-27T21:30:00Z", Some("2026-11-30T06:00:00Z")),
        ] {
            let quiet = [night.clone(), weekend.clone(), once.clone()];
            assert_eq!(until(&quiet, now).as_deref(), end, "{now}");
        }
    }

    #[test]
    fn the_clock_on_the_wall_counts_when_it_is_put_back_or_forward() {
        let night = [daily(&[], time(22, 0, 0, 0), time(7, 0, 0, 0))];
        assert_eq!(until(&night, "2026-10-24T21:00:00Z").as_deref(), Some("2026-10-25T06:00:00Z"), "put back");
        assert_eq!(until(&night, "2026-03-28T22:00:00Z").as_deref(), Some("2026-03-29T05:00:00Z"), "put forward");
    }

    #[test]
    fn quiet_without_end_has_one() {
        let days = [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];
        let all = [
            daily(&days, Time::midnight(), Time::midnight()),
            daily(&[Weekday::Saturday, Weekday::Sunday], Time::midnight(), Time::midnight()),
        ];
        let (end, _) = quiet_until(&all, at("2026-11-23T12:00:00Z")).unwrap();
        assert!(end > at("2026-11-23T12:00:00Z"));
    }
}
