//! Several daemons on one PostgreSQL: one works, the others stand by.

use std::sync::Arc;

use nextrun::store::{Postgres, Server, StorePlace};

use super::operate::{address, get, metric};
use super::postgres;
use super::stage::{Daemon, Stage, verdict};
use super::training::{Run, knobs};
use super::web::Receiver;
use super::whole::trainer;

/// Daemons with the same log directory and database.
pub(super) struct Fleet {
    pub(super) server: postgres::Server,
    /// The log directory.
    pub(super) common: Stage,
    lease: u32,
}

impl Fleet {
    pub(super) fn new(lease: u32) -> Fleet {
        Fleet { server: postgres::Server::start(), common: Stage::new(), lease }
    }

    /// The address of the database with the cases of this log directory, through a port.
    fn address(&self, port: Option<u16>) -> String {
        format!("{}?lease={}", self.server.address(port), self.lease)
    }

    pub(super) fn database(&self) -> Server {
        let server = Server::parse(&self.address(None)).unwrap();
        let server = server.for_name(self.common.logdir().to_str().unwrap());
        server.with_password(Arc::new(|| Ok(postgres::PASSWORD.to_owned())))
    }

    /// The stage of one daemon, whose configuration is written when it starts.
    pub(super) fn stage(&self, name: &str) -> Stage {
        self.common.beside(name, StorePlace::Server(Box::new(self.database())))
    }

    /// Starts a daemon that reaches the database through a port.
    pub(super) fn start(&self, stage: &Stage, port: Option<u16>, arguments: &[&str]) -> Daemon {
        let name = stage.state().file_name().unwrap().to_str().unwrap().to_owned();
        let text = format!(
            "store: {{ url: \"{}\", password: {{ env: NEXTRUN_TEST_PASSWORD }} }}\nstatus: {{ listen: \"127.0.0.1:0\" }}\n",
            self.address(port)
        );
        let file = stage.write(&format!("{name}.yaml"), &text);
        let configuration = ["--config", file.to_str().unwrap(), "--quiet-after", "600s"];
        stage.start(&[&configuration, arguments].concat(), &[("NEXTRUN_TEST_PASSWORD", postgres::PASSWORD)])
    }

    /// The daemon that owns the cases, by its text.
    pub(super) fn owner(&self) -> (String, i64) {
        let owners = Postgres::owners(&self.database()).unwrap();
        owners.into_iter().next().map(|owner| (owner.owner, owner.term)).unwrap_or_default()
    }

    /// The terms of the journal of each case, in the order of its entries.
    pub(super) fn terms(&self) -> Vec<Vec<i64>> {
        let schema = "SELECT tables FROM nextrun.logdirs";
        let schema = self.server.sql("nextrun", schema);
        let text = format!("SELECT string_agg(term::text, ' ' ORDER BY id) FROM {schema}.journal GROUP BY case_id");
        let lines = self.server.sql("nextrun", &text);
        lines.lines().map(|line| line.split(' ').map(|term| term.parse().unwrap()).collect()).collect()
    }
}

#[test]
#[ignore = "needs PostgreSQL: `.ci/run postgres`"]
fn one_works_and_another_takes_over_when_it_dies_stops_or_ends() {
    let fleet = Fleet::new(2);
    let queue = Receiver::start(trainer(&fleet.common.logdir(), knobs(0.1)));
    let webhook = Receiver::of_everything();
    let (queue_url, webhook_url) = (queue.url(), webhook.url());
    let arguments = ["--queue", &queue_url, "--webhook", &webhook_url];
    let (one, two) = (fleet.stage("one"), fleet.stage("two"));
    let owns = |stage: &Stage| fleet.owner().0.contains(stage.state().to_str().unwrap());
    let sick = |name: &str, stage: &Stage| {
        Run::new(&fleet.common.logdir(), name, &knobs(0.1)).train();
        assert_eq!(verdict(&stage.until_closed(name)), "learning_rate_too_high", "{name}");
    };

    let mut first = fleet.start(&one, None, &arguments);
    one.until("it owns the cases", || owns(&one));
    let second = fleet.start(&two, None, &arguments);
    two.until("it stands by", || two.log().contains("standby"));
    let page = address(&two);
    let ready = get(&page, "/ready", "");
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("standby: ") && ready.contains("state-one"), "{ready}");
    assert!(get(&page, "/health", "").starts_with("HTTP/1.1 200"));
    assert_eq!((metric(&page, "nextrun_owner"), metric(&address(&one), "nextrun_owner")), (Some(0.0), Some(1.0)));
    sick("a", &one);

    // It dies: the other one takes over when the lease ends.
    first.kill();
    two.until("the other one owns the cases", || owns(&two));
    sick("b", &two);
    assert_eq!((metric(&page, "nextrun_owner"), metric(&page, "nextrun_owner_term")), (Some(1.0), Some(2.0)));
    two.until("the page names the owner", || get(&page, "/", "").contains("term 2"));

    // It is stopped for longer than its lease, and changes nothing when it goes on.
    let first = fleet.start(&one, None, &arguments);
    one.until("it stands by", || one.log().matches("standby").count() == 1);
    second.signal("STOP");
    one.until("it takes over", || owns(&one));
    sick("c", &one);
    second.signal("CONT");
    two.until("it notices", || two.log().contains("has taken over this log directory"));

    // It ends in order: the other one need not wait for the lease.
    first.signal("TERM");
    two.until("the other one owns the cases again", || owns(&two));
    sick("d", &two);

    let terms = fleet.terms();
    assert_eq!(terms.len(), 4);
    assert!(terms.iter().all(|terms| terms.iter().all(|term| *term == terms[0])), "{terms:?}");
    assert_eq!(terms.iter().flatten().max(), Some(&4));
    let events = queue.events();
    let ids: std::collections::BTreeSet<&str> = events.iter().map(|event| event.text("/id")).collect();
    assert_eq!(ids.len(), events.len(), "no suggestion is made twice");
    let config = |stage: &Stage| stage.state().with_extension("yaml");
    let listed = std::process::Command::new(env!("CARGO_BIN_EXE_nextrun"))
        .args(["cases", "list", "--all", "--config", config(&one).to_str().unwrap()])
        .env("NEXTRUN_TEST_PASSWORD", postgres::PASSWORD)
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.lines().count(), 4, "{listed}");
    for stage in [&one, &two] {
        assert!(!stage.log().contains(postgres::PASSWORD), "no secret is logged");
    }
}

#[test]
#[ignore = "needs PostgreSQL: `.ci/run postgres`"]
fn a_daemon_says_which_other_one_watches_a_directory_inside_its_own() {
    let fleet = Fleet::new(2);
    let inner = fleet.common.logdir().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let (outer_stage, inner_stage) = (fleet.stage("outer"), fleet.stage("inner"));
    let _outer = fleet.start(&outer_stage, None, &[]);
    outer_stage.until("it owns its cases", || outer_stage.log().contains("this daemon owns the cases"));
    outer_stage.until("it watches", || outer_stage.log().contains("all files were read"));
    assert!(!outer_stage.log().contains("would have two cases"));

    let text = format!(
        "watch: {{ logdir: {inner:?} }}\nstore: {{ url: \"{}\", password: {{ env: NEXTRUN_TEST_PASSWORD }} }}\nstatus: {{ listen: \
         \"127.0.0.1:0\" }}\n",
        fleet.address(None)
    );
    let file = inner_stage.write("inside.yaml", &text);
    let arguments = ["--config", file.to_str().unwrap()];
    let _inner = inner_stage.start_as_configured(&arguments, &[("NEXTRUN_TEST_PASSWORD", postgres::PASSWORD)]);
    inner_stage.until("it warns", || inner_stage.log().contains("would have two cases"));
    let log = inner_stage.log();
    let line = log.lines().find(|line| line.contains("would have two cases")).unwrap();
    assert!(line.contains(" is inside ") && line.contains("state-outer"), "{line}");
    let page = address(&inner_stage);
    inner_stage.until("the page says it, too", || get(&page, "/", "").contains("would have two cases"));
}
