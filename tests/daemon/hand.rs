//! Actions of people: running a suggestion manually, naming its run, answering, closing.

use super::stage::{Stage, verdict};
use super::training::{Knobs, Run, knobs, steps, with};
use super::web::Receiver;
use super::whole::trainer;
use serde_json::json;

/// One experiment, and a question if it cures nothing.
pub(crate) const POLICY: &str = r#"
policy: short
summary: a hundredth of the learning rate, then a question
judge: { cured: experiment.cured }
tests:
  lower_learning_rate:
    step: "1 lower the learning rate"
    why: "it is {baseline.learning_rate}"
    hypothesis: the learning rate is too high
    expect: the loss falls
    change: { learning_rate: /100 }
    cause: { verdict: learning_rate_too_high, summary: cured }
  look_at_data:
    why: nothing else is left
    ask: { checklist: [do inputs and labels belong together], answers: { found_it: data } }
conclusions:
  data: { verdict: data_pipeline, summary: a person found it }
  unknown: { verdict: inconclusive, summary: nothing was found }
states:
  all: { try: [lower_learning_rate, look_at_data], empty: unknown }
"#;

const CONFIGURATION: &str = "policy: ./short.yaml\ncontrol: never\nlimits: { at_once: 20, ask_wait: 1h }\n";

fn stage() -> (Stage, String) {
    let stage = Stage::new();
    stage.write("short.yaml", POLICY);
    let configuration = stage.write("nextrun.yaml", CONFIGURATION);
    (stage, configuration.to_str().unwrap().to_owned())
}

/// Baselines that differ in a knob.
fn with_batch_size(batch_size: usize) -> Knobs {
    with(&knobs(1.0), &json!({ "batch_size": batch_size }))
}

#[test]
fn an_experiment_is_known_by_its_name_by_its_id_and_by_a_persons_word() {
    let (stage, configuration) = stage();
    let logdir = stage.logdir();
    let queue = Receiver::of_everything();
    let webhook = Receiver::of_everything();
    let _daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s", "--config", &configuration]);
    let ways = ["name", "folder_below", "hyperparameter", "text", "side_file", "a_persons_word"];
    for (index, way) in ways.iter().enumerate() {
        Run::new(&logdir, way, &with_batch_size(8 + index)).train();
    }
    stage.until("each has its suggestion", || queue.events().len() == ways.len());

    for event in queue.events() {
        let (way, id) = (event.text("/subject"), event.text("/id"));
        let index = ways.iter().position(|name| *name == way).unwrap();
        let cured = with(&with_batch_size(8 + index), &event.body["data"]["overrides"]);
        let all = 0..steps(&cured) + 1;
        let name = event.text("/data/run_name");
        let elsewhere = Run::new(&logdir, &format!("by_hand/{way}"), &cured);
        match way {
            "name" => Run::new(&logdir, name, &cured).log(all),
            "folder_below" => Run::new(&logdir, &format!("{name}/lightning_logs/version_0"), &cured).log(all),
            "hyperparameter" => elsewhere.hyperparameter("NEXTRUN_SUGGESTION_ID", id).log(all),
            "text" => elsewhere.text("NEXTRUN_SUGGESTION_ID", id).log(all),
            "side_file" => elsewhere.beside("nextrun.json", &json!({ "suggestion_id": id }).to_string()).log(all),
            _ => elsewhere.log(all),
        };
    }
    let told = stage.case_of("a_persons_word").unwrap();
    let said = stage.cases(&["link", &told.id.0[..6], "by_hand/a_persons_word"]);
    assert!(said.contains("by_hand/a_persons_word"), "{said}");

    let by = [
        "its name",
        "its name",
        "the suggestion id that it states",
        "the suggestion id that it states",
        "the suggestion id that it states",
        "hand",
    ];
    for (way, by) in ways.iter().zip(by) {
        let case = stage.until_closed(way);
        assert_eq!(verdict(&case), "learning_rate_too_high", "{way}");
        let journal = stage.journal(&case);
        let linked: Vec<_> = journal.iter().filter(|entry| entry.kind == "linked").collect();
        assert_eq!(linked.len(), 1, "{way}: {linked:?}");
        assert_eq!(linked[0].detail["by"], by, "{way}");
    }
    assert_eq!(stage.kept().len(), ways.len(), "no experiment opened a case of its own");
}

/// A suggestion that only people got is recognised by its settings; a queue's run states whose it is, or has its name.
#[test]
fn a_run_that_states_nothing_is_known_by_its_settings_where_only_people_were_told() {
    let (stage, configuration) = stage();
    let logdir = stage.logdir();
    let webhook = Receiver::of_everything();
    let url = webhook.url();
    let _daemon = stage.start(&["--webhook", &url, "--quiet-after", "600s", "--config", &configuration], &[]);
    Run::new(&logdir, "sick", &knobs(1.0)).train();
    stage.until("the run is suggested", || webhook.data_of("nextrun.run.suggested").len() == 1);
    let cured = with(&knobs(1.0), &webhook.data_of("nextrun.run.suggested")[0]["overrides"]);
    Run::new(&logdir, "by_hand/try", &cured).with_knobs().log(0..steps(&cured) + 1);

    let case = stage.until_closed("sick");
    assert_eq!(verdict(&case), "learning_rate_too_high");
    let linked: Vec<_> = stage.journal(&case).into_iter().filter(|entry| entry.kind == "linked").collect();
    assert_eq!(linked[0].detail["by"], "equal hyperparameters after the suggestion");
}

/// Three seeds of one configuration fail together, and the queue runs what they ask for one after the other.
#[test]
fn three_seeds_that_fail_together_have_experiments_of_their_own() {
    let (stage, configuration) = stage();
    let logdir = stage.logdir();
    let queue = Receiver::of_everything();
    let webhook = Receiver::of_everything();
    let _daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s", "--config", &configuration]);
    let seeds = ["seed0", "seed1", "seed2"];
    seeds.iter().for_each(|seed| Run::new(&logdir, seed, &knobs(1.0)).train());
    stage.until("each has its suggestion", || queue.events().len() == seeds.len());
    // The one that was asked for last runs first, and cures; the others change nothing.
    for (index, event) in queue.events().iter().rev().enumerate() {
        let settings = if index == 0 { with(&knobs(1.0), &event.body["data"]["overrides"]) } else { knobs(1.0) };
        let run = Run::new(&logdir, event.text("/data/run_name"), &settings);
        run.log(0..steps(&settings) + 1);
        let baseline = event.text("/subject").to_owned();
        stage.until("it is linked to its own case", || {
            let case = stage.case_of(&baseline).unwrap();
            case.experiments[0].job.as_deref() == Some(event.text("/data/run_name"))
        });
    }
    for event in queue.events() {
        let case = stage.case_of(event.text("/subject")).unwrap();
        assert_eq!(case.experiments[0].job.as_deref(), Some(event.text("/data/run_name")));
    }
}

#[test]
fn a_person_answers_one_question_and_closes_another_case() {
    let (stage, configuration) = stage();
    let logdir = stage.logdir();
    let queue = Receiver::start(trainer(&logdir, knobs(5.0)));
    let webhook = Receiver::of_everything();
    let _daemon = stage.watch(&queue, &webhook, &["--quiet-after", "600s", "--config", &configuration]);
    for name in ["answered", "closed"] {
        Run::new(&logdir, name, &knobs(5.0)).train();
    }
    stage.until("both ask", || webhook.data_of("nextrun.question.asked").len() == 2);
    let open = stage.cases(&["list"]);
    assert_eq!(open.matches("at look_at_data").count(), 2, "{open}");

    stage.cases(&["answer", &stage.case_of("answered").unwrap().id.0, "found_it"]);
    let why = "labels were shifted by one";
    let id = stage.case_of("closed").unwrap().id.0;
    stage.cases(&["close", &id, "--verdict", "loss_function", "--why", why]);
    assert_eq!(verdict(&stage.until_closed("answered")), "data_pipeline");
    let closed = stage.until_closed("closed");
    assert_eq!(verdict(&closed), "loss_function");
    assert_eq!(closed.closed.unwrap().summary, why);
    assert_eq!(stage.cases(&["list"]), "");
}
