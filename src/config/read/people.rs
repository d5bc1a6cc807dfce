//! The keys `approval`, `approvers` and `owners`.

use crate::case::Approval;
use crate::config::glob::Glob;
use crate::config::people::{Approvers, Owners, PROVIDERS};
use crate::yaml::{Kind, Node, suggest};

use super::Reader;

impl Reader<'_> {
    pub(super) fn approval(&mut self, node: &Node) -> Approval {
        if let Kind::Map(_) = &node.kind {
            let Some(fields) = crate::yaml::Fields::new(node, "`approval`", &["automatic_below"], &mut self.problems)
            else {
                return Approval::default();
            };
            let time = fields.get("automatic_below").and_then(|node| self.positive(node, "`automatic_below`"));
            return time.map_or_else(Approval::default, |time| Approval::AutomaticBelow(time.as_secs_f64()));
        }
        let words = [("automatic", Approval::Automatic), ("ask", Approval::Ask)];
        self.one_of(node, "`approval`", &words).unwrap_or_default()
    }

    pub(super) fn approvers(&mut self, node: &Node) -> Approvers {
        let by_job = self.people(node, "`approvers`", |reader, text, place| {
            let provider = text.split_once(':').filter(|(_, user)| !user.is_empty()).map(|(provider, _)| provider);
            if !provider.is_some_and(|provider| PROVIDERS.contains(&provider)) {
                let help = "write slack:USER_ID, local:USER_NAME, http:act (the status address), or slack:* for all";
                let help = provider.and_then(|name| suggest(name, PROVIDERS)).map_or(help.to_owned(), |near| near);
                reader.problems.add_help(place, format!("`{text}` does not identify an approver"), help);
                return false;
            }
            true
        });
        Approvers::new(by_job)
    }

    pub(super) fn owners(&mut self, node: &Node) -> Owners {
        let by_job = self.people(node, "`owners`", |reader, text, place| {
            let (kind, id) = text.split_once(':').unwrap_or(("", text));
            let good = match kind {
                "slack" => !id.is_empty() && id.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()),
                "discord" => !id.is_empty() && id.chars().all(|c| c.is_ascii_digit()),
                _ => !text.is_empty() && !text.chars().any(char::is_control),
            };
            if !good {
                let help = "write slack:USER_ID (such as slack:U024BE7LH), discord:USER_ID, or a name";
                reader.problems.add_help(place, format!("`{text}` does not identify an owner"), help);
            }
            good
        });
        Owners::new(by_job)
    }

    fn people(
        &mut self,
        node: &Node,
        what: &str,
        mut check: impl FnMut(&mut Self, &str, crate::yaml::Span) -> bool,
    ) -> Vec<(Glob, Vec<String>)> {
        let mut by_job = Vec::new();
        for (key, node) in node.entries(what, &mut self.problems) {
            let glob = self.glob(&key.name, key.place);
            let people = self.texts(node, what);
            let people =
                people.into_iter().filter(|(text, place)| check(self, text, *place)).map(|(text, _)| text).collect();
            by_job.extend(glob.map(|glob| (glob, people)));
        }
        by_job
    }
}
