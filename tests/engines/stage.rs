//! A store, an outbox and one destination called `cluster`, by processes that follow each other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nextrun::case::{Body, CaseId, Message, RunCancelled, RunSuggested};
use nextrun::destinations::{Destination, Http, Preset, Setup, Surroundings, Timeouts};
use nextrun::fate::Fate;
use nextrun::outbox::{OpenRuns, Outbox, Pace, Report, Sending};
use nextrun::store::{Commit, Delivery, SharedStore, Sqlite, Store, Wish};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Seconds since the Unix epoch.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// The destination `cluster` of a preset.
pub(crate) fn set_up(preset: Arc<Preset>, setup: Setup) -> Destination {
    let http = Http::new(Timeouts { connect: Duration::from_secs(5), whole: Duration::from_secs(30) });
    let surroundings = Surroundings { host: "login1".into(), http, terminal: Arc::new(Mutex::new(std::io::sink())) };
    Destination::new(preset, Setup { name: "cluster".into(), ..setup }, &surroundings).unwrap()
}

pub(crate) fn suggested(id: &str, owner: Option<&str>) -> Message {
    let body = RunSuggested {
        suggestion_id: id.into(),
        command: Some("python train.py".into()),
        owner: owner.map(str::to_owned),
        ..RunSuggested::default()
    };
    let (case, body) = (CaseId("c1".into()), Body::RunSuggested(Box::new(body)));
    Message { id: id.into(), case, subject: "resnet/7".into(), time: now(), body }
}

pub(crate) fn cancelled(suggestion: &str) -> Message {
    let body = Body::RunCancelled(RunCancelled { suggestion_id: suggestion.into(), ..RunCancelled::default() });
    Message { id: RunCancelled::id_for(suggestion), body, ..suggested(suggestion, None) }
}

/// A state directory that processes follow each other in.
pub(crate) struct State {
    _directory: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

pub(crate) struct Process {
    store: SharedStore,
    pub(crate) outbox: Outbox,
    reports: UnboundedReceiver<Report>,
}

impl State {
    pub(crate) fn new() -> State {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nextrun.db");
        State { _directory: directory, path }
    }

    pub(crate) async fn start(&self, destination: Destination) -> Process {
        let store = SharedStore::new(Box::new(Sqlite::open(&self.path).unwrap()));
        store.with(|store| store.recover(now())).await.unwrap();
        let (sender, reports) = unbounded_channel();
        let pace = Pace { first: Duration::from_millis(2), most: Duration::from_millis(10), ..Pace::default() };
        let metrics = Arc::default();
        let sending = Sending { store: store.clone(), pace, clock: Arc::new(now), reports: sender, metrics };
        Process { outbox: Outbox::start(vec![destination], &sending), store, reports }
    }

    /// The fates of the suggested run that were told so far.
    pub(crate) fn fates(&self, suggestion: &str) -> Vec<Fate> {
        let requests = Sqlite::open_read_only(&self.path).unwrap().requests().unwrap();
        let fate = |wish| match wish {
            Wish::FateOfExperiment { suggestion: of, fate } if of == suggestion => fate,
            other => panic!("{other:?}"),
        };
        requests.into_iter().map(|request| fate(request.unwrap().wish)).collect()
    }

    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        Sqlite::open_read_only(&self.path).unwrap().deliveries(None, None).unwrap()
    }
}

impl Process {
    /// A case waits for this suggested run.
    pub(crate) fn wait_for(&self, suggestion: &str) {
        self.outbox.wait_for(&OpenRuns::new(BTreeMap::from([(suggestion.to_owned(), CaseId("c1".into()))])));
    }

    pub(crate) async fn owe(&self, message: Message) {
        let commit = Commit { messages: vec![(message, vec!["cluster".into()])], ..Commit::default() };
        self.store.with(move |store| store.commit(&commit)).await.unwrap();
        self.outbox.wake();
    }

    pub(crate) async fn report(&mut self) -> Report {
        let waited = tokio::time::timeout(Duration::from_secs(30), self.reports.recv()).await;
        waited.expect("a report within the deadline").expect("workers that live")
    }

    /// The job id under which a message arrived, after all that was told before.
    pub(crate) async fn delivered(&mut self) -> Option<String> {
        loop {
            if let Report::Delivered { reference, .. } = self.report().await {
                return reference;
            }
        }
    }
}
