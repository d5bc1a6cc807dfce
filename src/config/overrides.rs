//! Settings from the command line, which override the file.

use std::path::PathBuf;
use std::time::Duration;

use crate::case::MessageKind;
use crate::logdir::Place;

use super::settings::{DestinationSettings, FieldValue, RunnerSettings, Settings};

/// Settings from the command line; absent settings stay unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `LOGDIR`: watched instead of the log directories in the file.
    pub logdir: Option<Place>,
    /// `--queue URL`: destination for suggested runs.
    pub queue: Option<String>,
    /// `--webhook URL`: destination for all other events, and for suggested runs if there is no queue.
    pub webhook: Option<String>,
    /// `--state DIR`.
    pub state: Option<PathBuf>,
    /// `--quiet-after DURATION`.
    pub quiet_after: Option<Duration>,
    /// `--runner`.
    pub runner: Option<RunnerSettings>,
}

/// Every kind of message except suggested runs.
const REPORTS: [MessageKind; 6] = [
    MessageKind::CaseOpened,
    MessageKind::ApprovalAsked,
    MessageKind::StopSuggested,
    MessageKind::QuestionAsked,
    MessageKind::Notice,
    MessageKind::CaseClosed,
];

impl Overrides {
    pub(super) fn apply(&self, settings: &mut Settings) {
        if let Some(place) = &self.logdir {
            settings.watch.replace(place);
        }
        if let Some(silence) = self.quiet_after {
            settings.watch.end_after(silence);
        }
        if let Some(state) = &self.state {
            settings.state.clone_from(state);
        }
        if self.runner.is_some() {
            settings.runner = self.runner;
        }
        if let Some(url) = &self.queue {
            redirect(settings, "queue", url).wants = Some(vec![MessageKind::RunSuggested]);
        }
        if let Some(url) = &self.webhook {
            let queued = self.queue.is_some()
                || self.runner.is_some()
                || settings.destinations.iter().any(|d| d.preset.is("queue"));
            redirect(settings, "webhook", url).wants = queued.then(|| REPORTS.to_vec());
        }
    }
}

/// The destination for a flag: the one of that name in the file, which keeps its secret, or a new one.
fn redirect<'s>(settings: &'s mut Settings, name: &str, url: &str) -> &'s mut DestinationSettings {
    let known = settings.destinations.iter().position(|d| d.name == name && d.preset.is(name));
    let place = known.unwrap_or_else(|| {
        // A destination of that name with another preset stays unchanged; the flag's destination is added to it.
        let taken = settings.destinations.iter().any(|d| d.name == name);
        let own = if taken { format!("{name}-flag") } else { name.to_owned() };
        settings.destinations.push(DestinationSettings::new(&own, name));
        settings.destinations.len() - 1
    });
    let destination = &mut settings.destinations[place];
    destination.fields.insert("url".to_owned(), FieldValue::Plain(url.to_owned()));
    destination
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_the_contract_share_the_messages_out() {
        let mut settings = Settings::default();
        let flags =
            Overrides { queue: Some("http://q".into()), webhook: Some("http://w".into()), ..Overrides::default() };
        flags.apply(&mut settings);
        let wants: Vec<_> = settings.destinations.iter().map(|d| (d.name.as_str(), d.wants.clone())).collect();
        assert_eq!(wants, [("queue", Some(vec![MessageKind::RunSuggested])), ("webhook", Some(REPORTS.to_vec()))]);
    }

    #[test]
    fn a_webhook_alone_gets_everything() {
        let mut settings = Settings::default();
        Overrides { webhook: Some("http://w".into()), ..Overrides::default() }.apply(&mut settings);
        assert_eq!(settings.destinations[0].wants, None);
    }

    #[test]
    fn a_flag_keeps_the_secret_of_the_file() {
        let mut queue = DestinationSettings::new("queue", "queue");
        queue.fields.insert("secret".to_owned(), FieldValue::Plain("whsec_x".to_owned()));
        let mut settings = Settings { destinations: vec![queue], ..Settings::default() };
        Overrides { queue: Some("http://q".into()), ..Overrides::default() }.apply(&mut settings);
        assert_eq!(settings.destinations.len(), 1);
        assert_eq!(settings.destinations[0].fields.keys().collect::<Vec<_>>(), ["secret", "url"]);
    }
}
