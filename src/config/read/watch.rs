//! The section `watch`: one log directory, or a list of them.

use crate::config::watch::{Poll, QUIET_FLOOR, QuietAfter, WatchSettings, Watched};
use crate::logdir::Place;
use crate::yaml::{Fields, Kind, Node};

use super::Reader;
use super::values::is_plain_part;

const KEYS: [&str; 11] = [
    "name",
    "logdir",
    "include",
    "exclude",
    "policy",
    "queue",
    "ignore_older_than",
    "quiet_after",
    "quiet_floor",
    "sweep",
    "poll",
];

impl Reader<'_> {
    pub(super) fn watch(&mut self, node: &Node) -> Watched {
        let nodes = match &node.kind {
            Kind::List(items) if !items.is_empty() => items,
            _ => std::slice::from_ref(node),
        };
        let mut directories: Vec<WatchSettings> = Vec::new();
        for node in nodes {
            let Some(fields) = Fields::new(node, "`watch`", &KEYS, &mut self.problems) else { continue };
            let directory = self.directory(&fields);
            if nodes.len() > 1 {
                self.check_several(&fields, &directory, &directories);
            }
            directories.push(directory);
        }
        Watched::new(directories)
    }

    fn directory(&mut self, fields: &Fields<'_>) -> WatchSettings {
        let mut watch = WatchSettings::default();
        if let Some(node) = fields.get("name") {
            watch.name = self.name_of_directory(node);
        }
        watch.logdir = fields.get("logdir").and_then(|node| self.place(node));
        watch.include = fields.get("include").map(|node| self.globs(node, "`include`")).unwrap_or_default();
        watch.exclude = fields.get("exclude").map(|node| self.globs(node, "`exclude`")).unwrap_or_default();
        watch.policy = fields.get("policy").map(|node| self.policies(node));
        if let Some(node) = fields.get("queue") {
            watch.queue = node.text("`queue`", &mut self.problems).map(str::to_owned);
            self.queues.extend(watch.queue.clone().map(|name| (name, node.place)));
        }
        if let Some(node) = fields.get("ignore_older_than") {
            let never = node.is_word("never");
            let age = if never { None } else { self.duration(node, "`ignore_older_than`", "`never` or ") };
            watch.ignore_older_than = age;
        }
        watch.quiet_after = self.quiet_after(fields);
        if let Some(sweep) = fields.get("sweep").and_then(|node| self.positive(node, "`sweep`")) {
            watch.sweep = Some(sweep);
        }
        if let Some(node) = fields.get("poll") {
            watch.poll =
                self.one_of(node, "`poll`", &[("auto", Poll::Auto), ("always", Poll::Always)]).unwrap_or_default();
        }
        watch
    }

    /// With several directories, each needs a place and a name of its own.
    fn check_several(&mut self, fields: &Fields<'_>, directory: &WatchSettings, before: &[WatchSettings]) {
        if fields.get("name").is_none() {
            let help = "add `name:`; the names of its jobs begin with it, as in vision/resnet/7";
            self.problems.add_help(fields.place(), "each of several log directories needs `name`", help);
        }
        if fields.get("logdir").is_none() {
            self.problems.add(fields.place(), "each of several log directories needs `logdir`");
        }
        for (key, taken) in [
            ("name", directory.name.is_some() && before.iter().any(|other| other.name == directory.name)),
            ("logdir", directory.logdir.is_some() && before.iter().any(|other| other.logdir == directory.logdir)),
        ] {
            if let Some(node) = fields.get(key).filter(|_| taken) {
                self.problems.add(node.place, format!("two log directories have the same `{key}`"));
            }
        }
    }

    /// A name that is one part of a path, so that it can begin the names of jobs.
    fn name_of_directory(&mut self, node: &Node) -> Option<String> {
        let name = node.text("`name`", &mut self.problems)?;
        if !is_plain_part(name) {
            let help = "use letters, digits, `-`, `_` and `.`; it must not begin with `.`";
            self.problems.add_help(node.place, format!("`{name}` cannot be the name of a log directory"), help);
            return None;
        }
        Some(name.to_owned())
    }

    fn quiet_after(&mut self, fields: &Fields<'_>) -> QuietAfter {
        let floor = fields.get("quiet_floor");
        match fields.get("quiet_after").filter(|node| !node.is_word("adaptive")) {
            None => {
                let floor = floor.and_then(|node| self.duration(node, "`quiet_floor`", ""));
                QuietAfter::Adaptive { floor: floor.unwrap_or(QUIET_FLOOR) }
            }
            Some(node) => {
                if let Some(key) = fields.key("quiet_floor") {
                    let help = "remove it, or write `quiet_after: adaptive`";
                    self.problems.add_help(key.place, "`quiet_floor` has no effect with a fixed `quiet_after`", help);
                }
                let time = self.duration(node, "`quiet_after`", "`adaptive` or ");
                time.map_or_else(QuietAfter::default, QuietAfter::Fixed)
            }
        }
    }

    /// A log directory: a path, or an address in an object store.
    fn place(&mut self, node: &Node) -> Option<Place> {
        if let Kind::List(_) = node.kind {
            let help = "for several log directories, write a list: `watch: [{name: A, logdir: PATH}, {name: B, logdir: PATH}]`";
            self.problems.add_help(node.place, "`logdir` names one log directory", help);
            return None;
        }
        let text = node.text("`logdir`", &mut self.problems)?;
        match Place::parse(text) {
            Ok(Place::Disk(_)) => self.path(node, "`logdir`").map(Place::Disk),
            Ok(place) => Some(place),
            Err(error) => {
                self.problems.add(node.place, error.to_string());
                None
            }
        }
    }

    /// Each named queue must be a destination.
    pub(super) fn check_queues(&mut self, destinations: &[crate::config::DestinationSettings]) {
        for (name, place) in std::mem::take(&mut self.queues) {
            if !destinations.iter().any(|destination| destination.name == name) {
                let help = crate::yaml::suggest(&name, destinations.iter().map(|known| known.name.as_str()));
                self.problems.add_maybe(place, format!("`queue`: there is no destination `{name}`"), help);
            }
        }
    }
}
