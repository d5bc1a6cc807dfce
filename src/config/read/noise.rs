//! The section `noise`, and the key `for` of a destination.

use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::config::noise::{Burst, DAYS, KnobTest, Noise, Quiet, Route, Rule, Span};
use crate::yaml::{Fields, Kind, Node, suggest};

use super::Reader;

const QUIET: [&str; 5] = ["days", "from", "to", "zone", "why"];
const RULE: [&str; 4] = ["jobs", "knobs", "symptoms", "verdicts"];

impl Reader<'_> {
    pub(super) fn noise(&mut self, node: &Node) -> Noise {
        let mut noise = Noise::default();
        let Some(fields) = Fields::new(node, "`noise`", &["digest", "quiet"], &mut self.problems) else { return noise };
        if let Some(node) = fields.get("digest") {
            noise.digest = if node.is_word("never") { None } else { self.burst(node) };
        }
        let quiet = fields.get("quiet").map_or(&[][..], |node| node.items("`quiet`", &mut self.problems));
        noise.quiet = quiet.iter().filter_map(|node| self.quiet(node)).collect();
        noise
    }

    fn burst(&mut self, node: &Node) -> Option<Burst> {
        let Burst { mut cases, mut within } = Noise::default().digest?;
        let fields = Fields::new(node, "`digest`", &["cases", "within"], &mut self.problems)?;
        if let Some(count) = fields.get("cases").and_then(|node| node.count("`cases`", &mut self.problems)) {
            cases = count;
        }
        if let Some(time) = fields.get("within").and_then(|node| self.positive(node, "`within`")) {
            within = time;
        }
        Some(Burst { cases, within })
    }

    fn quiet(&mut self, node: &Node) -> Option<Quiet> {
        let fields = Fields::new(node, "a quiet period", &QUIET, &mut self.problems)?;
        let text = |reader: &mut Self, key: &str| {
            fields.get(key).and_then(|node| node.text(&format!("`{key}`"), &mut reader.problems)).map(str::to_owned)
        };
        let (from, to) = (text(self, "from"), text(self, "to"));
        let days = fields.get("days").map(|node| self.days(node)).unwrap_or_default();
        let zone = match fields.get("zone") {
            Some(node) => self.zone(node)?,
            None => TimeZone::system(),
        };
        let why = text(self, "why");
        let once = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<DateTime>().ok());
        let daily = |text: &Option<String>| match text.as_deref() {
            None => Some(Time::midnight()),
            Some(text) if text.contains(':') && !text.contains('-') => text.parse::<Time>().ok(),
            Some(_) => None,
        };
        let span = match (once(&from), once(&to), daily(&from), daily(&to)) {
            (_, _, Some(from), Some(to)) if !(from == to && days.is_empty()) => Span::Daily { days, from, to },
            (Some(from), Some(to), _, _) if from < to && days.is_empty() => Span::Once { from, to },
            _ => {
                let help = "write times of day (from: \"22:00\", to: \"07:00\"), days (days: [sat, sun]), or a single \
                    period (from: 2026-12-24T18:00, to: 2027-01-02T08:00)";
                self.problems.add_help(fields.place(), "a quiet period must have a start and an end", help);
                return None;
            }
        };
        Some(Quiet { span, zone, why })
    }

    fn days(&mut self, node: &Node) -> Vec<Weekday> {
        let nodes: &[Node] = if let Kind::List(items) = &node.kind { items } else { std::slice::from_ref(node) };
        nodes.iter().filter_map(|node| self.one_of(node, "`days`", &DAYS)).collect()
    }

    fn zone(&mut self, node: &Node) -> Option<TimeZone> {
        let name = node.text("`zone`", &mut self.problems)?;
        let zone = TimeZone::get(name).ok();
        if zone.is_none() {
            let help = "write a name from the IANA time zone database, such as Europe/Berlin or UTC";
            self.problems.add_help(node.place, format!("there is no time zone `{name}`"), help);
        }
        zone
    }

    pub(super) fn route(&mut self, node: &Node) -> Route {
        if node.is_word("rest") {
            return Route::Rest;
        }
        let nodes: &[Node] = if let Kind::List(items) = &node.kind { items } else { std::slice::from_ref(node) };
        Route::Rules(nodes.iter().filter_map(|node| self.rule(node)).collect())
    }

    fn rule(&mut self, node: &Node) -> Option<Rule> {
        let fields = Fields::new(node, "`for`", &RULE, &mut self.problems)?;
        let mut texts = |key: &str| {
            let what = format!("`{key}`");
            let texts = fields.get(key).map(|node| self.texts(node, &what)).unwrap_or_default();
            texts.into_iter().map(|(text, _)| text).collect::<Vec<_>>()
        };
        let (symptoms, verdicts) = (texts("symptoms"), texts("verdicts"));
        self.known(&fields, "symptoms", &symptoms);
        self.known(&fields, "verdicts", &verdicts);
        let jobs = fields.get("jobs").map(|node| self.globs(node, "`jobs`")).unwrap_or_default();
        let knobs = fields.get("knobs").map_or(&[][..], |node| node.entries("`knobs`", &mut self.problems));
        let knobs = knobs.iter().filter_map(|(key, node)| Some((key.name.clone(), self.knob_test(node)?))).collect();
        Some(Rule { jobs, knobs, symptoms, verdicts })
    }

    /// Rejects names that no message can have.
    fn known(&mut self, fields: &Fields<'_>, key: &str, names: &[String]) {
        let verdicts: Vec<&str> = crate::policy::VERDICTS.to_vec();
        let symptoms: Vec<&str> = self.vocabulary.symptoms.iter().map(String::as_str).collect();
        let known = if key == "verdicts" { verdicts } else { symptoms };
        for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
            let place = fields.get(key).map_or(fields.place(), |node| node.place);
            let help = suggest(name, known.iter().copied());
            self.problems.add_maybe(place, format!("`{key}` contains `{name}`, which does not exist"), help);
        }
    }

    fn knob_test(&mut self, node: &Node) -> Option<KnobTest> {
        match &node.kind {
            Kind::Scalar(value) => Some(KnobTest::OneOf(vec![value.clone()])),
            Kind::List(items) => {
                let value = |item: &Node| if let Kind::Scalar(value) = &item.kind { Some(value.clone()) } else { None };
                Some(KnobTest::OneOf(items.iter().filter_map(value).collect::<Vec<Value>>()))
            }
            Kind::Map(_) => {
                let fields = Fields::new(node, "a knob", &["at_least", "at_most"], &mut self.problems)?;
                let mut bound =
                    |key: &str| fields.get(key).and_then(|node| node.number(&format!("`{key}`"), &mut self.problems));
                Some(KnobTest::Within { at_least: bound("at_least"), at_most: bound("at_most") })
            }
        }
    }
}
