//! Experiments that need approval.

use super::tests::site;
use super::trials::{Bench, TWO_STEPS, answered};
use super::*;
use crate::case::{Body, MessageKind, RUN, SKIP, SNOOZE};

/// A case that waits for consent to its first experiment.
fn asking(approval: Approval) -> Bench {
    let mut bench = Bench::new(Site { approval, approve_within: 1000.0, ..site(TWO_STEPS) });
    bench.look();
    bench
}

fn reply(bench: &mut Bench, answer: &str) -> Changes {
    let (id, (ask, _)) = (bench.case().id.clone(), bench.case().asks().expect("it asks"));
    let changes = bench.diagnosis.reply(&id, &ask, &answered(answer, bench.now), bench.now);
    bench.messages.extend(changes.messages.clone());
    changes
}

fn states(bench: &Bench) -> Vec<&str> {
    bench.case().experiments.iter().map(|experiment| experiment.proposal.at.state.as_str()).collect()
}

#[test]
fn an_experiment_runs_once_a_person_lets_it() {
    let mut bench = asking(Approval::Ask);
    assert_eq!((bench.kinds(MessageKind::ApprovalAsked), bench.kinds(MessageKind::RunSuggested)), (1, 0));
    let Body::ApprovalAsked(asked) = bench.messages.last().unwrap().body.clone() else { panic!("it asks") };
    bench.look();
    assert_eq!(bench.kinds(MessageKind::ApprovalAsked), 1, "it is asked once");
    let changes = reply(&mut bench, RUN);
    let Body::RunSuggested(run) = &changes.messages[0].body else { panic!("{:?}", changes.messages) };
    assert_eq!((&run.suggestion_id, &run.overrides), (&asked.run.suggestion_id, &asked.run.overrides));
    let journal = &changes.journal[0].1;
    assert_eq!((journal.kind.as_str(), journal.detail["by"]["user"].as_str()), ("answered", Some("U1")));
    let experiment = bench.case().open_experiment().unwrap();
    assert_eq!(experiment.approval.as_deref(), Some(format!("{}-approval", run.suggestion_id).as_str()));
    assert!(bench.case().asks().is_none() && bench.case().approved.is_none());
}

#[test]
fn a_declined_experiment_is_left_out_and_uses_up_none() {
    let mut bench = asking(Approval::Ask);
    reply(&mut bench, SKIP);
    assert_eq!(bench.kinds(MessageKind::ApprovalAsked), 2, "the next one is asked for");
    assert_eq!(bench.case().not_tried[0].state, "lower");
    assert!(bench.case().not_tried[0].why.contains("ada (slack:U1) declined it"), "{:?}", bench.case().not_tried);
    reply(&mut bench, RUN);
    assert_eq!(states(&bench), ["lower_still"]);
    assert_eq!(bench.case().facts.experiments, 1);
}

#[test]
fn no_answer_is_no() {
    let mut bench = asking(Approval::Ask);
    let (ask, until) = bench.case().asks().unwrap();
    bench.now = until - 2.0;
    bench.look();
    assert_eq!(bench.case().asks().unwrap().0, ask);
    bench.now = until + 10.0;
    bench.look();
    assert_eq!(bench.case().not_tried[0].why, "nobody approved it in time");
    assert_ne!(bench.case().asks().unwrap().0, ask, "the next one is asked for");
    let id = bench.case().id.clone();
    let late = bench.diagnosis.reply(&id, &ask, &answered(RUN, bench.now), bench.now);
    assert!(late.is_empty(), "an answer to what was asked before changes nothing");
}

#[test]
fn what_is_snoozed_is_asked_again_under_another_id() {
    let mut bench = asking(Approval::Ask);
    let (first, _) = bench.case().asks().unwrap();
    reply(&mut bench, SNOOZE);
    assert!(bench.case().asks().is_none());
    bench.now += 3600.0;
    bench.look();
    assert_eq!(bench.kinds(MessageKind::ApprovalAsked), 1);
    bench.now += 4.0 * 3600.0;
    bench.look();
    let (again, until) = bench.case().asks().unwrap();
    assert!(again != first && until > bench.now, "{again}");
    reply(&mut bench, RUN);
    assert_eq!(states(&bench), ["lower"]);
}

#[test]
fn cheap_experiments_run_by_themselves() {
    let mut bench = asking(Approval::AutomaticBelow(1e6));
    assert_eq!((bench.kinds(MessageKind::ApprovalAsked), states(&bench)), (0, vec!["lower"]));
    bench.look();
    let dear = asking(Approval::AutomaticBelow(1.0));
    assert_eq!(dear.kinds(MessageKind::ApprovalAsked), 1);
    let mut by_hand = Bench::new(Site { approval: Approval::Ask, by_hand: true, ..site(TWO_STEPS) });
    by_hand.look();
    assert_eq!(by_hand.kinds(MessageKind::RunSuggested), 1, "whoever runs it by hand decides anyway");
}

#[test]
fn a_control_that_is_declined_is_gone_without() {
    let mut bench = Bench::new(Site { approval: Approval::Ask, control: WhenControl::Always, ..site(TWO_STEPS) });
    bench.look();
    let Body::ApprovalAsked(asked) = &bench.messages.last().unwrap().body else { panic!("it asks") };
    assert!(asked.run.control);
    reply(&mut bench, SKIP);
    reply(&mut bench, RUN);
    assert_eq!(states(&bench), ["lower"]);
    assert_eq!(bench.case().facts.experiments, 1);
}

#[test]
fn an_experiment_that_the_script_cannot_run_is_not_asked_for_any_more() {
    let mut bench = asking(Approval::Ask);
    let suggestion = bench.case().unapproved().unwrap().to_owned();
    let report = Report::Refused { suggestion, unknown_knobs: ["learning_rate".to_owned()].into() };
    bench.diagnosis.report(&report, bench.now);
    assert!(bench.case().facts.missing_knobs.contains("learning_rate"));
    assert_eq!(bench.case().facts.experiments, 0);
}
