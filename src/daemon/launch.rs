//! Adds to each suggested run how it is started: the baseline's own command with the changes if it is known, otherwise
//! the command in the site's configuration.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use crate::case::{ApprovalAsked, Body, CaseClosed, Message, RunSuggested};
use crate::command::{Placed, Rewritten, Target, rewrite, typed};
use crate::config::{Launch, Placement, Rendered, Settings};
use crate::diagnosis::{Changes, Report};
use crate::facts::Knobs;
use crate::launched::{CommandFrom, Launched, Source, Way};
use crate::logdir::Place;
use crate::store::AskKind;

use super::engine::Engine;

/// What is known about a baseline.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// How it was started.
    pub(super) launched: Option<Launched>,
    /// Its settings, including those in its command.
    pub(super) settings: Knobs,
    /// Latest step of its training loss.
    pub(super) steps: Option<f64>,
}

/// Adds command, arguments, environment and settings to a suggested run, and the command to a recommendation. Returns
/// the knobs that cannot be passed to the script as requested, each with the reason: such a run must not be suggested.
pub(super) fn dress(message: &mut Message, settings: &Settings, known: &Known) -> BTreeMap<String, String> {
    match &mut message.body {
        Body::RunSuggested(run) => dress_run(run, &message.subject, settings, known),
        Body::ApprovalAsked(asked) => {
            let unplaced = dress_run(&mut asked.run, &message.subject, settings, known);
            asked.seal();
            unplaced
        }
        Body::CaseClosed(end) => {
            dress_recommendation(end, &message.subject, settings, known);
            BTreeMap::new()
        }
        Body::CaseOpened(_)
        | Body::RunCancelled(_)
        | Body::StopSuggested(_)
        | Body::QuestionAsked(_)
        | Body::Notice(_)
        | Body::Digest(_) => BTreeMap::new(),
    }
}

impl Engine {
    /// What is known about the baseline of a message.
    fn known(&self, message: &Message) -> Known {
        let Some(case) = self.diagnosis.cases().find(|case| case.id == message.case) else { return Known::default() };
        Known {
            launched: case.launched.clone(),
            settings: case.settings.clone(),
            steps: Some(case.baseline_facts.steps()).filter(|steps| steps.is_finite()),
        }
    }

    /// Completes the messages of a step. A run is not suggested if a knob cannot be passed to the script as requested;
    /// its case continues as if it had been refused for this reason.
    pub(super) fn dress_all(&mut self, changes: &mut Changes, now: f64) -> anyhow::Result<()> {
        // Each refusal removes a knob from its case, so this terminates; the bound protects against bugs.
        for _ in 0..MOST_REFUSALS {
            let mut refused = None;
            for (at, message) in changes.messages.iter_mut().enumerate() {
                if self.is_as_approved(message)? {
                    continue;
                }
                let known = self.known(message);
                let unplaced = dress(message, &self.settings, &known);
                if !unplaced.is_empty() {
                    refused = Some((at, unplaced));
                    break;
                }
            }
            let Some((at, unplaced)) = refused else { return Ok(()) };
            let message = changes.messages.remove(at);
            tracing::info!(case = %message.case, reasons = ?unplaced, "these knobs cannot be passed to the script");
            let suggestion = match message.body {
                Body::ApprovalAsked(asked) => asked.run.suggestion_id,
                _ => message.id,
            };
            let report = Report::Refused { suggestion, unknown_knobs: unplaced.into_keys().collect() };
            changes.absorb(self.diagnosis.report(&report, now));
        }
        Ok(())
    }

    /// Replaces a suggested run that a person approved with exactly what was shown to that person, regardless of the
    /// current configuration. Returns whether it was approved this way.
    fn is_as_approved(&mut self, message: &mut Message) -> anyhow::Result<bool> {
        let Body::RunSuggested(run) = &mut message.body else { return Ok(false) };
        let case = self.diagnosis.cases().find(|case| case.id == message.case);
        let experiment = case.and_then(|case| case.experiments.iter().find(|e| e.suggestion == message.id));
        let Some(ask) = experiment.and_then(|experiment| experiment.approval.clone()) else { return Ok(false) };
        let shown = self.waited_for(|engine| engine.store.blocking(|store| store.ask(&ask)))?;
        let Some(shown) = shown.filter(|ask| ask.kind == AskKind::Approval) else { return Ok(false) };
        **run = serde_json::from_value::<ApprovalAsked>(shown.shown)?.run;
        Ok(true)
    }
}

/// Maximum number of withdrawn suggestions per step.
const MOST_REFUSALS: usize = 256;

/// A command as it is suggested.
#[derive(Debug, Default)]
struct Suggested {
    arguments: Vec<String>,
    command: Option<String>,
    from: Option<CommandFrom>,
    cwd: Option<String>,
    environment: Option<String>,
    env: BTreeMap<String, String>,
    unplaced: BTreeMap<String, String>,
}

fn dress_run(run: &mut RunSuggested, job: &str, site: &Settings, known: &Known) -> BTreeMap<String, String> {
    run.overrides = floats(&run.overrides);
    run.settings = floats(&all_settings(&run.settings, known));
    let baseline = relative(job, site);
    let placement = Placement { suggestion_id: &run.suggestion_id, run_name: &run.run_name, baseline: &baseline };
    let suggested = suggest(job, (&run.overrides, &run.settings), &placement, site, known);
    run.env = suggested.env;
    run.env.extend(site.experiments.env.iter().map(|(name, value)| (name.clone(), value.clone())));
    let set = |env: &mut BTreeMap<String, String>, name: &str, value: String| drop(env.insert(name.to_owned(), value));
    set(&mut run.env, "NEXTRUN_SUGGESTION_ID", run.suggestion_id.clone());
    set(&mut run.env, "NEXTRUN_RUN_NAME", run.run_name.clone());
    // A map of texts and JSON values is always valid JSON.
    set(&mut run.env, "NEXTRUN_OVERRIDES", serde_json::to_string(&run.overrides).unwrap_or_default());
    if let Some(root) = logdir_of(site, job) {
        set(&mut run.env, "NEXTRUN_LOG_DIR", format!("{root}/{}", run.run_name));
    }
    if let Some(folder) = output_dir(run, job, site) {
        set(&mut run.env, "NEXTRUN_OUTPUT_DIR", folder);
    }
    if run.probe {
        set(&mut run.env, "NEXTRUN_PROBE", "1".to_owned());
    }
    (run.arguments, run.command, run.command_from) = (suggested.arguments, suggested.command, suggested.from);
    (run.cwd, run.environment) = (suggested.cwd, suggested.environment);
    suggested.unplaced
}

fn dress_recommendation(end: &mut CaseClosed, job: &str, site: &Settings, known: &Known) {
    let Some(recommended) = &mut end.recommended else { return };
    let baseline = relative(job, site);
    let run_name = if baseline == "." { "cured".to_owned() } else { format!("{baseline}-cured") };
    let placement = Placement { suggestion_id: "", run_name: &run_name, baseline: &baseline };
    recommended.overrides = floats(&recommended.overrides);
    let settings = floats(&known.settings);
    let suggested = suggest(job, (&recommended.overrides, &settings), &placement, site, known);
    (recommended.arguments, recommended.command) = (suggested.arguments, suggested.command);
}

/// A job by its path relative to its log directory.
fn relative<'j>(job: &'j str, site: &Settings) -> Cow<'j, str> {
    site.watch.of(job).map_or(Cow::Borrowed(job), |(_, name)| name)
}

/// Logged settings take precedence over those in the command.
fn all_settings(logged: &Knobs, known: &Known) -> Knobs {
    let mut all = known.launched.as_ref().map(|launched| launched.settings.clone()).unwrap_or_default();
    all.extend(known.settings.clone());
    all.extend(logged.clone());
    all
}

fn floats(knobs: &Knobs) -> Knobs {
    knobs.iter().map(|(knob, value)| (knob.clone(), typed(knob, value))).collect()
}

/// The command of an experiment, from the first source that can be used. A known command is used only if it belongs to
/// this user and its output can be redirected.
fn suggest(
    job: &str,
    (overrides, settings): (&Knobs, &Knobs),
    placement: &Placement<'_>,
    site: &Settings,
    known: &Known,
) -> Suggested {
    let launch = site.launch_of(job);
    let rendered = launch.render(overrides, settings, placement);
    let Some(launched) = known.launched.as_ref().filter(|launched| !launched.flags.is_empty() || owned(launched))
    else {
        return of_site(rendered);
    };
    let logdir = logdir_of(site, job);
    let target = Target {
        logdir: logdir.as_deref(),
        baseline: placement.baseline,
        run_name: placement.run_name,
        settings,
        steps: known.steps,
    };
    let launched = &as_configured(launched, &launch);
    let mut rewritten = rewrite(launched, overrides, &target);
    let mut env = BTreeMap::new();
    by_site(&launch, &mut rewritten, &mut env, overrides, settings);
    if !owned(launched) || rewritten.placed == Placed::WouldOverwrite {
        // Its script is still known, and with it the knobs that it does not support.
        let known = rendered.command.is_none().then_some(rewritten.unplaced);
        let site = of_site(rendered);
        return Suggested { unplaced: known.unwrap_or_else(|| site.unplaced.clone()), ..site };
    }
    env.extend(rewritten.env.clone());
    let before = &launched.argv;
    let arguments = rewritten.argv.iter().filter(|word| !before.contains(word)).cloned().collect();
    if rewritten.placed == Placed::MakesItsOwn {
        state_itself(&mut rewritten, launched);
    }
    Suggested {
        arguments,
        command: Some(rewritten.command(&launched.cwd)),
        from: Some(CommandFrom::from(launched)),
        cwd: Some(launched.cwd.clone()),
        environment: launched.environment.clone(),
        env,
        unplaced: rewritten.unplaced,
    }
}

/// A run that creates its own directory marks it as an experiment: otherwise, nothing links the directory to its
/// suggestion before another user's daemon treats it as a separate job.
fn state_itself(rewritten: &mut Rewritten, launched: &Launched) {
    let here = match launched.source {
        Source::Run | Source::Process => std::env::current_exe().ok().filter(|program| program.exists()),
        // The machines of an engine may not have this program.
        Source::Engine => None,
    };
    let Some(program) = here.as_ref().and_then(|program| program.to_str()) else { return };
    let wrapped = launched.argv.iter().take(2).map(String::as_str).eq([program, "run"]);
    if !wrapped {
        rewritten.argv.splice(0..0, [program, "run", "--"].map(str::to_owned));
    }
}

fn of_site(rendered: Rendered) -> Suggested {
    let from = rendered.command.as_ref().map(|_| CommandFrom::CONFIGURATION);
    let Rendered { arguments, env, command, unknown } = rendered;
    Suggested { arguments, command, from, env, unplaced: unknown, ..Suggested::default() }
}

/// Knobs that the command does not contain and that the site's configuration can pass.
fn by_site(
    launch: &Launch,
    rewritten: &mut Rewritten,
    env: &mut BTreeMap<String, String>,
    overrides: &Knobs,
    settings: &Knobs,
) {
    let mut all = settings.clone();
    all.extend(overrides.iter().map(|(knob, value)| (knob.clone(), value.clone())));
    rewritten.unplaced.retain(|knob, _| {
        let value = overrides.get(knob).unwrap_or(&Value::Null);
        let Ok(added) = launch.added(knob, value, &all) else { return true };
        rewritten.argv.extend(added.arguments);
        rewritten.env.extend(added.env.clone());
        env.extend(added.env);
        false
    });
}

/// What is known of a script, without the options that the site's configuration says are others: somebody has looked.
fn as_configured(launched: &Launched, launch: &Launch) -> Launched {
    let mut launched = launched.clone();
    launched.flags.retain(|flag| {
        // A script that counts epochs is told its steps by them.
        let knob = if flag.knob == "epochs" { "max_steps" } else { &flag.knob };
        let own = [&flag.name].into_iter().chain(&flag.also).chain(&flag.off);
        launch
            .names_of(knob)
            .is_none_or(|names| own.into_iter().any(|name| names.contains(name)) || flag.way == Way::File)
    });
    launched
}

/// Whether a command belongs to this user. A command that another user may have written is never run automatically.
fn owned(launched: &Launched) -> bool {
    launched.owner == Some(rustix::process::geteuid().as_raw())
}

/// The absolute path of a job's log directory as seen by processes; none for an object store.
fn logdir_of(site: &Settings, job: &str) -> Option<String> {
    let Some(Place::Disk(path)) = &site.watch.of(job)?.0.logdir else { return None };
    let path = std::fs::canonicalize(path).or_else(|_| std::path::absolute(path)).ok()?;
    path.to_str().map(str::to_owned)
}

fn output_dir(run: &RunSuggested, job: &str, site: &Settings) -> Option<String> {
    let named = site
        .experiments
        .output_dir
        .as_ref()
        .map(|folder| folder.replace("{suggestion_id}", &run.suggestion_id).replace("{run_name}", &run.run_name));
    named.or_else(|| Some(format!("{}/{}/output", logdir_of(site, job)?, run.run_name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::CaseId;
    use crate::config::{WatchSettings, Watched};
    use crate::launched::{Flag, Kind};
    use serde_json::json;

    fn knobs(value: &Value) -> Knobs {
        value.as_object().expect("an object").clone().into_iter().collect()
    }

    fn launched(owner: Option<u32>) -> Launched {
        let flag = Flag { name: "--lr".into(), knob: "learning_rate".into(), kind: Kind::Float, ..Flag::default() };
        Launched {
            source: Source::Run,
            argv: ["python", "t.py", "--lr", "10", "--logdir", "/runs/a"].map(str::to_owned).to_vec(),
            cwd: "/w".into(),
            environment: Some("e1".into()),
            flags: vec![flag],
            settings: knobs(&json!({"learning_rate": 10, "seed": 3})),
            owner,
            ..Launched::default()
        }
    }

    fn site() -> Settings {
        let watch = WatchSettings { logdir: Some(Place::Disk("/runs".into())), ..WatchSettings::default() };
        Settings { watch: Watched::new(vec![watch]), ..Settings::default() }
    }

    fn dressed(overrides: &Value, launched: Option<Launched>, probe: bool) -> (RunSuggested, BTreeMap<String, String>) {
        let site = site();
        let run = RunSuggested {
            suggestion_id: "s1".into(),
            run_name: "nextrun/a/01-x".into(),
            overrides: knobs(overrides),
            settings: knobs(&json!({"batch_size": 8})),
            probe,
            ..RunSuggested::default()
        };
        let known = Known { launched, settings: Knobs::new(), steps: Some(10.0) };
        let body = Body::RunSuggested(Box::new(run));
        let mut message = Message { id: "s1".into(), case: CaseId("c".into()), subject: "a".into(), time: 0.0, body };
        let unplaced = dress(&mut message, &site, &known);
        let Body::RunSuggested(run) = message.body else { panic!("it is what it was") };
        (*run, unplaced)
    }

    #[test]
    fn a_known_command_of_ones_own_is_rewritten() {
        let me = rustix::process::geteuid().as_raw();
        let (run, unplaced) = dressed(&json!({"learning_rate": 1}), Some(launched(Some(me))), true);
        assert!(unplaced.is_empty());
        assert_eq!(run.command.as_deref(), Some("cd /w && python t.py --lr 1.0 --logdir /runs/nextrun/a/01-x"));
        assert_eq!((run.cwd.as_deref(), run.environment.as_deref()), (Some("/w"), Some("e1")));
        assert_eq!(run.command_from.and_then(|from| from.owner), Some(me));
        assert_eq!(json!(run.settings), json!({"batch_size": 8, "learning_rate": 10.0, "seed": 3}));
        assert_eq!(run.env["NEXTRUN_OVERRIDES"], r#"{"learning_rate":1.0}"#);
        assert_eq!((run.env["WANDB_MODE"].as_str(), run.env["NEXTRUN_PROBE"].as_str()), ("offline", "1"));
        assert_eq!(run.env["NEXTRUN_OUTPUT_DIR"], "/runs/nextrun/a/01-x/output");
    }

    #[test]
    fn an_option_that_the_site_names_is_used_instead_of_the_one_that_was_found() {
        let parse = |knobs: &str| {
            let text = format!("launch:\n  knobs: {knobs}\n");
            let vocabulary = crate::daemon::vocabulary();
            crate::config::parse(&text, "t", std::path::Path::new("/"), &vocabulary).expect("it is valid")
        };
        let changed = |knobs: &str| {
            let (site, known) = (parse(knobs), launched(None));
            let launched = as_configured(&known, &site.launch_of("a"));
            launched.flags.iter().map(|flag| flag.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(changed("{ learning_rate: { argument: \"--lr={value}\" } }"), ["--lr"]);
        assert_eq!(changed("{ batch_size: { argument: \"--bs={value}\" } }"), ["--lr"]);
        assert_eq!(changed("{ learning_rate: { argument: \"--rate={value}\" } }"), Vec::<String>::new());
    }

    #[test]
    fn a_command_that_others_may_have_written_is_not_suggested() {
        for owner in [None, Some(rustix::process::geteuid().as_raw() + 1)] {
            let (run, _) = dressed(&json!({"learning_rate": 1}), Some(launched(owner)), false);
            assert_eq!((run.command, run.command_from, run.cwd), (None, None, None), "{owner:?}");
            assert!(!run.env.contains_key("NEXTRUN_PROBE"));
        }
    }

    #[test]
    fn a_command_that_would_write_into_its_baselines_folder_is_not_suggested() {
        let mut there = launched(Some(rustix::process::geteuid().as_raw()));
        there.argv.truncate(4);
        assert_eq!(dressed(&json!({"learning_rate": 1}), Some(there), false).0.command, None);
    }

    #[test]
    fn a_run_that_makes_its_own_folder_says_whose_experiment_it_is() {
        let mut there = launched(Some(rustix::process::geteuid().as_raw()));
        there.argv.truncate(4);
        let (site, run) = (site(), RunSuggested { run_name: "n/1".into(), ..RunSuggested::default() });
        let known = Known { launched: Some(there), ..Known::default() };
        let body = Body::RunSuggested(Box::new(run));
        let subject = "fit/20261129-165132".to_owned();
        let mut message = Message { id: "s1".into(), case: CaseId("c".into()), subject, time: 0.0, body };
        dress(&mut message, &site, &known);
        let Body::RunSuggested(run) = message.body else { panic!("it is what it was") };
        let command = run.command.expect("a command");
        assert!(command.ends_with(" run -- python t.py --lr 10"), "{command}");
    }

    #[test]
    fn what_the_script_has_not_got_is_told_before_it_is_asked() {
        let me = Some(rustix::process::geteuid().as_raw());
        let (_, unplaced) = dressed(&json!({"learning_rate": 1, "batch_norm": false}), Some(launched(me)), false);
        assert_eq!(unplaced.keys().collect::<Vec<_>>(), ["batch_norm"]);
        assert!(dressed(&json!({"batch_norm": false}), None, false).1.is_empty(), "nothing is known of the script");
    }
}
