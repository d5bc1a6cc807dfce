//! How a suggested run is started, added to its message: what only the site's configuration knows.

use crate::case::{Body, CaseClosed, Message, RunSuggested};
use crate::config::{Placement, Settings};
use crate::launched::CommandFrom;

/// Adds arguments, environment and command to a suggested run, and the command to a recommendation.
pub(super) fn dress(message: &mut Message, settings: &Settings) {
    match &mut message.body {
        Body::RunSuggested(run) => dress_run(run, &message.subject, settings),
        Body::CaseClosed(end) => dress_recommendation(end, &message.subject, settings),
        Body::CaseOpened(_)
        | Body::RunCancelled(_)
        | Body::StopSuggested(_)
        | Body::QuestionAsked(_)
        | Body::Notice(_)
        | Body::Digest(_) => {}
    }
}

fn dress_run(run: &mut RunSuggested, baseline: &str, settings: &Settings) {
    let placement = Placement { suggestion_id: &run.suggestion_id, run_name: &run.run_name, baseline };
    let rendered = settings.launch_of(baseline).render(&run.overrides, &placement);
    (run.arguments, run.command, run.env) = (rendered.arguments, rendered.command, rendered.env);
    run.command_from = run.command.as_ref().map(|_| CommandFrom::CONFIGURATION);
}

fn dress_recommendation(end: &mut CaseClosed, baseline: &str, settings: &Settings) {
    let Some(recommended) = &mut end.recommended else { return };
    let run_name = if baseline == "." { "cured".to_owned() } else { format!("{baseline}-cured") };
    let placement = Placement { suggestion_id: "", run_name: &run_name, baseline };
    let rendered = settings.launch_of(baseline).render(&recommended.overrides, &placement);
    (recommended.arguments, recommended.command) = (rendered.arguments, rendered.command);
}
