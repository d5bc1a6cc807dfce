//! Prints the effective settings without secrets.

use serde_json::{Map, Value, json};

use super::duration::show_duration;
use super::glob::Glob;
use super::launch::{Carrier, Launch, Pattern};
use super::noise::{DAYS, KnobTest, Noise, Quiet, Route, Rule, Span};
use super::policies::{Policies, PolicyChoice};
use super::secret::SecretSource;
use super::settings::{
    Budgets, DestinationSettings, Experiments, FieldValue, Keep, Limits, OnUnknown, Patience, PresetChoice, Probes,
    ServerSettings, Settings, StatusSettings, Team,
};
use super::watch::{Poll, QuietAfter, WatchSettings, Watched};
use super::words::Template;
use crate::case::{Approval, Budget, WhenControl};

/// Writes the settings as a configuration file. For secrets, it shows only their source; for addresses, only scheme and
/// host.
pub fn show(settings: &Settings) -> String {
    let mut file = Map::new();
    file.insert("watch".to_owned(), watched(&settings.watch));
    let destinations = settings.destinations.iter().map(|d| (d.name.clone(), destination(d)));
    file.insert("destinations".to_owned(), Value::Object(destinations.collect()));
    if let Some(hosts) = &settings.allowed_hosts {
        file.insert("allowed_hosts".to_owned(), json!(hosts));
    }
    file.insert("noise".to_owned(), noise(&settings.noise));
    let launches: Vec<Value> = settings.launches.iter().map(launch).collect();
    if !launches.is_empty() {
        file.insert("launch".to_owned(), Value::Array(launches));
    }
    file.insert("experiments".to_owned(), experiments(&settings.experiments));
    file.insert("policy".to_owned(), policies(&settings.policies));
    file.insert("limits".to_owned(), limits(&settings.limits));
    file.insert("control".to_owned(), json!(control(settings.control)));
    file.insert("approval".to_owned(), approval(settings.approval));
    for (key, by_job) in [("approvers", settings.approvers.by_job()), ("owners", settings.owners.by_job())] {
        let people = by_job.iter().map(|(glob, people)| (glob.as_str().to_owned(), json!(people)));
        let people: Map<String, Value> = people.collect();
        if !people.is_empty() {
            file.insert(key.to_owned(), Value::Object(people));
        }
    }
    if settings.budgets != Budgets::default() {
        file.insert("budgets".to_owned(), budgets(&settings.budgets));
    }
    if !settings.probes.jobs.is_empty() {
        let Probes { jobs, share, audit } = &settings.probes;
        let jobs: Vec<&str> = jobs.iter().map(Glob::as_str).collect();
        file.insert("probes".to_owned(), json!({ "jobs": jobs, "share": share, "audit": audit }));
    }
    if !settings.signals.is_empty() {
        file.insert("signals".to_owned(), signals(settings));
    }
    file.insert("prior".to_owned(), json!(settings.prior()));
    file.insert("state".to_owned(), json!(settings.state));
    if let Some(store) = &settings.store {
        file.insert("store".to_owned(), self::store(store));
    }
    let keep = match settings.keep {
        Keep::Always => "always".to_owned(),
        Keep::For(time) => show_duration(time),
    };
    file.insert("keep_closed".to_owned(), json!(keep));
    if let Some(status) = &settings.status {
        file.insert("status".to_owned(), self::status(status));
    }
    serde_saphyr::to_string(&Value::Object(file)).unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
}

fn store(store: &ServerSettings) -> Value {
    match &store.password {
        None => json!(store.server.to_string()),
        Some(source) => json!({ "url": store.server.to_string(), "password": kept(source) }),
    }
}

fn texts(globs: &[Glob]) -> Vec<&str> {
    globs.iter().map(Glob::as_str).collect()
}

fn watched(watched: &Watched) -> Value {
    if let [only] = &**watched { watch(only) } else { Value::Array(watched.iter().map(watch).collect()) }
}

fn watch(watch: &WatchSettings) -> Value {
    let mut map = Map::new();
    map.extend(watch.name.iter().map(|name| ("name".to_owned(), json!(name))));
    map.extend(watch.logdir.iter().map(|place| ("logdir".to_owned(), json!(place.to_string()))));
    if !watch.include.is_empty() {
        map.insert("include".to_owned(), json!(texts(&watch.include)));
    }
    if !watch.exclude.is_empty() {
        map.insert("exclude".to_owned(), json!(texts(&watch.exclude)));
    }
    map.extend(watch.policy.iter().map(|own| ("policy".to_owned(), policies(own))));
    map.extend(watch.queue.iter().map(|queue| ("queue".to_owned(), json!(queue))));
    let age = watch.ignore_older_than.map_or("never".to_owned(), show_duration);
    map.insert("ignore_older_than".to_owned(), json!(age));
    match watch.quiet_after {
        QuietAfter::Adaptive { floor } => {
            map.insert("quiet_after".to_owned(), json!("adaptive"));
            map.insert("quiet_floor".to_owned(), json!(show_duration(floor)));
        }
        QuietAfter::Fixed(time) => {
            map.insert("quiet_after".to_owned(), json!(show_duration(time)));
        }
    }
    map.insert("sweep".to_owned(), json!(show_duration(watch.sweep())));
    let poll = match watch.poll {
        Poll::Auto => "auto",
        Poll::Always => "always",
    };
    map.insert("poll".to_owned(), json!(poll));
    Value::Object(map)
}

fn destination(destination: &DestinationSettings) -> Value {
    let mut map = Map::new();
    let preset = match &destination.preset {
        PresetChoice::Shipped(name) => json!(name),
        PresetChoice::File(path) => json!(path),
    };
    map.insert("preset".to_owned(), preset);
    for (name, value) in &destination.fields {
        let shown = match value {
            FieldValue::Plain(text) => json!(without_path(text)),
            FieldValue::Kept(source) => kept(source),
        };
        map.insert(name.clone(), shown);
    }
    if let Some((name, accounts)) = &destination.accounts {
        let shown = accounts.iter().map(|(owner, source)| (owner.clone(), kept(source)));
        map.insert(name.clone(), Value::Object(shown.collect()));
    }
    if let Some(wants) = &destination.wants {
        map.insert("wants".to_owned(), json!(wants));
    }
    match &destination.route {
        Route::All => {}
        Route::Rest => {
            map.insert("for".to_owned(), json!("rest"));
        }
        Route::Rules(rules) => {
            map.insert("for".to_owned(), Value::Array(rules.iter().map(rule).collect()));
        }
    }
    if let Some(patience) = destination.patience {
        let patience = match patience {
            Patience::AtOnce => "at_once",
            Patience::MayWait => "may_wait",
        };
        map.insert("patience".to_owned(), json!(patience));
    }
    let on_unknown = match destination.on_unknown {
        OnUnknown::Resend => "resend",
        OnUnknown::Hold => "hold",
    };
    map.insert("on_unknown".to_owned(), json!(on_unknown));
    map.insert("give_up_after".to_owned(), json!(show_duration(destination.give_up_after)));
    map.insert("timeout".to_owned(), json!(show_duration(destination.timeout)));
    map.insert("status_every".to_owned(), json!(show_duration(destination.status_every)));
    Value::Object(map)
}

fn kept(source: &SecretSource) -> Value {
    match source {
        SecretSource::File(path) => json!({ "file": path }),
        SecretSource::Env(name) => json!({ "env": name }),
        SecretSource::Credential(name) => json!({ "credential": name }),
    }
}

fn status(status: &StatusSettings) -> Value {
    let mut map = Map::new();
    map.insert("listen".to_owned(), json!(status.listen.to_string()));
    let tokens = [("read", &status.tokens.read), ("report", &status.tokens.report), ("act", &status.tokens.act)];
    let tokens = tokens.into_iter().filter_map(|(name, token)| Some((name.to_owned(), kept(token.as_ref()?))));
    let mut tokens: Map<String, Value> = tokens.collect();
    let senders: Map<String, Value> =
        status.tokens.forward.iter().map(|(place, token)| (place.clone(), kept(token))).collect();
    if !senders.is_empty() {
        tokens.insert("forward".to_owned(), Value::Object(senders));
    }
    if !tokens.is_empty() {
        map.insert("tokens".to_owned(), Value::Object(tokens));
    }
    if let Some(address) = &status.tensorboard {
        map.insert("tensorboard".to_owned(), json!(address));
    }
    Value::Object(map)
}

fn rule(rule: &Rule) -> Value {
    let mut map = Map::new();
    if !rule.jobs.is_empty() {
        map.insert("jobs".to_owned(), json!(texts(&rule.jobs)));
    }
    let knobs = rule.knobs.iter().map(|(name, test)| {
        let test = match test {
            KnobTest::OneOf(values) => json!(values),
            KnobTest::Within { at_least, at_most } => {
                let bounds = [("at_least", at_least), ("at_most", at_most)];
                bounds.into_iter().filter_map(|(key, bound)| Some((key.to_owned(), json!((*bound)?)))).collect()
            }
        };
        (name.clone(), test)
    });
    let knobs: Map<String, Value> = knobs.collect();
    if !knobs.is_empty() {
        map.insert("knobs".to_owned(), Value::Object(knobs));
    }
    for (key, names) in [("symptoms", &rule.symptoms), ("verdicts", &rule.verdicts)] {
        if !names.is_empty() {
            map.insert(key.to_owned(), json!(names));
        }
    }
    Value::Object(map)
}

fn noise(noise: &Noise) -> Value {
    let digest = noise
        .digest
        .map_or(json!("never"), |burst| json!({ "cases": burst.cases, "within": show_duration(burst.within) }));
    let quiet: Vec<Value> = noise.quiet.iter().map(quiet).collect();
    if quiet.is_empty() { json!({ "digest": digest }) } else { json!({ "digest": digest, "quiet": quiet }) }
}

fn quiet(quiet: &Quiet) -> Value {
    let mut map = Map::new();
    let (from, to) = match &quiet.span {
        Span::Daily { days, from, to } => {
            let named: Vec<&str> = DAYS.iter().filter(|(_, day)| days.contains(day)).map(|(name, _)| *name).collect();
            if !named.is_empty() {
                map.insert("days".to_owned(), json!(named));
            }
            (from.to_string(), to.to_string())
        }
        Span::Once { from, to } => (from.to_string(), to.to_string()),
    };
    map.insert("from".to_owned(), json!(from));
    map.insert("to".to_owned(), json!(to));
    if let Some(zone) = quiet.zone.iana_name() {
        map.insert("zone".to_owned(), json!(zone));
    }
    if let Some(why) = &quiet.why {
        map.insert("why".to_owned(), json!(why));
    }
    Value::Object(map)
}

/// Scheme and host of an address. A text that is not an address is shown unchanged because it was not secret in the
/// file.
fn without_path(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end].rsplit('@').next().unwrap_or_default();
    let whole = end == rest.len() && host == rest;
    if whole { text.to_owned() } else { format!("{scheme}://{host}/***") }
}

fn launch(launch: &Launch) -> Value {
    let mut map = Map::new();
    if !launch.jobs.is_empty() {
        map.insert("jobs".to_owned(), json!(texts(&launch.jobs)));
    }
    if let Some(command) = &launch.command {
        map.insert("command".to_owned(), json!(command.source()));
    }
    if let Some(knobs) = &launch.knobs {
        let shown =
            knobs.iter().map(|(knob, carriers)| (knob.clone(), Value::Object(carriers.iter().map(carrier).collect())));
        map.insert("knobs".to_owned(), Value::Object(shown.collect()));
    }
    for (key, names) in [("own_names", &launch.own_names), ("own_knobs", &launch.own_knobs)] {
        if !names.is_empty() {
            map.insert(key.to_owned(), json!(names));
        }
    }
    Value::Object(map)
}

fn experiments(experiments: &Experiments) -> Value {
    let mut env: Map<String, Value> =
        experiments.env.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    // A removed default must not return when the file is read again.
    let missing = Experiments::default().env.into_keys().filter(|name| !experiments.env.contains_key(name));
    env.extend(missing.map(|name| (name, Value::Null)));
    let mut map = Map::from_iter([("env".to_owned(), Value::Object(env))]);
    map.extend(experiments.output_dir.iter().map(|folder| ("output_dir".to_owned(), json!(folder))));
    Value::Object(map)
}

fn carrier(carrier: &Carrier) -> (String, Value) {
    let line = |words: &[Template]| {
        let words: Vec<String> = words.iter().map(|word| requote(word.source())).collect();
        json!(words.join(" "))
    };
    let pattern = match &carrier.pattern {
        Pattern::Always(words) => line(words),
        Pattern::ByValue { cases, otherwise } => {
            let cases = cases.iter().map(|(value, words)| (value.clone(), line(words)));
            let otherwise = otherwise.iter().map(|words| ("otherwise".to_owned(), line(words)));
            Value::Object(cases.chain(otherwise).collect())
        }
    };
    (carrier.way.key().to_owned(), pattern)
}

/// A word with quotes if necessary, so that it is read as one word.
fn requote(word: &str) -> String {
    if !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c == '\'' || c == '"') {
        word.to_owned()
    } else if word.contains('\'') {
        format!("\"{word}\"")
    } else {
        format!("'{word}'")
    }
}

fn policies(policies: &Policies) -> Value {
    let name = |choice: &PolicyChoice| match choice {
        PolicyChoice::BuiltIn(name) => json!(name),
        PolicyChoice::File(path) => json!(path),
    };
    let default = policies.default.as_ref().map_or(json!("by_kind"), name);
    if policies.by_job.is_empty() {
        return default;
    }
    let jobs = policies.by_job.iter().map(|(glob, choice)| (glob.as_str().to_owned(), name(choice)));
    json!({ "default": default, "jobs": Value::Object(jobs.collect()) })
}

fn limits(limits: &Limits) -> Value {
    let mut map = Map::new();
    if let Some(experiments) = limits.experiments {
        map.insert("experiments".to_owned(), json!(experiments));
    }
    if let Some(hours) = limits.hours {
        map.insert("hours".to_owned(), json!(hours));
    }
    map.insert("at_once".to_owned(), json!(limits.at_once));
    map.insert("start_within".to_owned(), json!(show_duration(limits.start_within)));
    map.insert("ask_wait".to_owned(), json!(limits.ask_wait.map_or("auto".to_owned(), show_duration)));
    Value::Object(map)
}

fn budgets(budgets: &Budgets) -> Value {
    let of = |budget: &Budget| {
        let mut map = Map::new();
        map.extend(budget.experiments.map(|most| ("experiments".to_owned(), json!(most))));
        map.extend(budget.hours.map(|most| ("hours".to_owned(), json!(most))));
        map.extend(budget.gpu_hours.map(|most| ("gpu_hours".to_owned(), json!(most))));
        map
    };
    let team = |team: &Team| {
        let mut map = of(&team.day);
        map.insert("jobs".to_owned(), json!(team.jobs.iter().map(Glob::as_str).collect::<Vec<_>>()));
        (team.name.clone(), Value::Object(map))
    };
    let teams: Map<String, Value> = budgets.teams.iter().map(team).collect();
    json!({ "case": of(&budgets.case), "day": of(&budgets.day), "teams": teams, "gpus": budgets.gpus })
}

fn control(control: WhenControl) -> &'static str {
    match control {
        WhenControl::Unsure => "when_unsure",
        WhenControl::Always => "always",
        WhenControl::Never => "never",
    }
}

fn approval(approval: Approval) -> Value {
    match approval {
        Approval::Automatic => json!("automatic"),
        Approval::Ask => json!("ask"),
        Approval::AutomaticBelow(seconds) => {
            let time = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
            json!({ "automatic_below": show_duration(time) })
        }
    }
}

fn signals(settings: &Settings) -> Value {
    let mut map: Map<String, Value> = Map::new();
    for rule in &settings.signals {
        let key = rule.signal.map_or("ignore", |signal| signal.as_str());
        let patterns = map.entry(key).or_insert_with(|| json!([]));
        patterns.as_array_mut().into_iter().for_each(|list| list.push(json!(rule.pattern)));
    }
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use super::without_path;

    #[test]
    fn of_an_address_only_the_host_is_shown() {
        assert_eq!(without_path("https://user:pw@h.example:8/T0/B0/secret?x"), "https://h.example:8/***");
        assert_eq!(without_path("http://h:8123"), "http://h:8123");
        assert_eq!(without_path("http://pw@h"), "http://h/***");
        assert_eq!(without_path("#channel"), "#channel");
    }
}
