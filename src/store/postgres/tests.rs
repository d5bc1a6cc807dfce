//! The store on a real server: the requirements for every store, lost answers, take-over, and what each error says.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::case::{CaseId, Person, Reply};
use crate::store::{
    Ask, AskKind, AskState, Commit, DeliveryState, JournalEntry, Replied, Sqlite, Store, StorePlace, Tried, Which,
    Wish, conformance,
};

#[path = "../../../tests/support/proxy.rs"]
mod proxy;
#[path = "../../../tests/support/postgres.rs"]
mod support;

use proxy::{Fault, Proxy};

/// An address with its password.
fn server(address: &str) -> Server {
    Server::parse(address).unwrap().with_password(Arc::new(|| Ok(support::PASSWORD.to_owned())))
}

/// The store and the ownership of a name that nobody owns.
fn own(address: &str, name: &str, identity: &str) -> (Postgres, Tenure) {
    let server = server(address).for_name(name);
    Claim::new(&server, identity, identity).make().unwrap().unwrap()
}

/// Another connection with the same ownership, like a restart that keeps it.
fn again(store: &Postgres) -> Postgres {
    let link = Link::new(store.link.server().clone());
    Postgres::of_owner(link, store.name.clone(), store.tables.clone(), store.term()).unwrap()
}

/// Opens empty stores, each under its own name.
fn fresh(address: &str) -> impl Fn() -> Box<dyn Fn() -> Box<dyn Store>> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let address = address.to_owned();
    move || {
        let name = format!("logdir {}", COUNT.fetch_add(1, Ordering::SeqCst));
        let (store, tenure) = own(&address, &name, "test");
        Box::new(move || {
            let _owned = &tenure;
            Box::new(again(&store))
        })
    }
}

#[test]
#[ignore = "needs PostgreSQL: `.ci/run postgres`"]
fn it_is_a_store() {
    let server = support::Server::start();
    conformance::suite(fresh(&server.address(None)));
}

#[test]
#[ignore = "needs PostgreSQL: `.ci/run postgres`"]
fn nothing_is_lost_doubled_or_overtaken() {
    let server = support::Server::start();
    conformance::nothing_is_lost_doubled_or_overtaken(fresh(&server.address(None)));
}

#[test]
#[ignore = "needs PostgreSQL and pgbouncer: `.ci/run postgres`"]
fn it_is_a_store_behind_a_pooler_that_changes_the_connection_after_each_transaction() {
    let server = support::Server::start();
    let pooler = server.pooler();
    let address = server.address(Some(pooler.port));
    conformance::suite(fresh(&address));
    conformance::nothing_is_lost_doubled_or_overtaken(fresh(&address));
}

fn entry(kind: &str) -> (CaseId, JournalEntry) {
    (CaseId("c1".into()), JournalEntry { time: 1.0, kind: kind.into(), detail: json!({}) })
}

fn kinds(store: &mut dyn Store) -> Vec<String> {
    store.journal(&CaseId("c1".into())).unwrap().into_iter().map(|entry| entry.kind).collect()
}

#[test]
#[ignore = "needs PostgreSQL: `.ci/run postgres`"]
fn a_commit_whose_answer_is_lost_is_made_once() {
    let server = support::Server::start();
    let proxy = Proxy::start(server.port);
    let (mut store, _tenure) = own(&server.address(Some(proxy.port)), "a", "one");
    let commit = |kind: &str| Commit { journal: vec![entry(kind)], ..Commit::default() };
    // The answer is lost, and the server can be asked at once.
    for (kind, fault) in [
        ("answer lost", Fault::LoseAnswer(b"COMMIT\0".to_vec())),
        ("request lost", Fault::LoseRequest(b"COMMIT\0".to_vec())),
        ("broken off", Fault::LoseRequest(b"INSERT INTO journal".to_vec())),
        ("never begun", Fault::LoseRequest(b"BEGIN".to_vec())),
    ] {
        proxy.set(fault);
        let commit = commit(kind);
        while let Err(error) = store.commit(&commit) {
            assert!(error.may_pass(), "{kind}: {error}");
        }
        assert!(proxy.is_spent(), "{kind}");
    }
    // The answer is lost, and the server cannot be asked for a while: whoever waits repeats the same commit.
    let (late, other) = (commit("asked later"), commit("another one"));
    let cut = cut_off_at_commit(&proxy, || store.commit(&late));
    if let Err(error) = cut {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        store.commit(&late).unwrap();
    }
    store.commit(&other).unwrap();
    let wanted = ["answer lost", "request lost", "broken off", "never begun", "asked later", "another one"];
    assert_eq!(kinds(&mut store), wanted);
}

/// Does something whose first commit gets no answer, and whose connection is cut from then on until it is done.
fn cut_off_at_commit<T>(proxy: &Proxy, work: impl FnOnce() -> T) -> T {
    proxy.set(Fault::LoseAnswer(b"COMMIT\0".to_vec()));
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !proxy.is_spent() {
                std::hint::spin_loop();
            }
            proxy.set(Fault::Cut);
        });
        work()
    });
    proxy.set(Fault::None);
    result
}

#[test]
#[ignore = "needs PostgreSQL: `.ci/run postgres`"]
fn a_lease_whose_answer_is_lost_is_in_force_once() {
    let server = support::Server::start();
    let proxy = Proxy::start(server.port);
    let (mut store, _tenure) = own(&server.address(Some(proxy.port)), "a", "one");
    let owed = vec![(conformance::message("m1", "c1"), vec!["queue".to_owned()])];
    store.commit(&Commit { messages: owed, ..Commit::default() }).unwrap();
    // The store cannot find out whether the lease was committed. It returns an error, and the caller leases again.
    drop(cut_off_at_commit(&proxy, || store.lease("queue", 1.0, 1)));
    let mut leased = store.lease("queue", 2.0, 1).unwrap();
    if leased.is_empty() {
        // The first call had its answer after all.
        leased = store.deliveries(None, Some(DeliveryState::Sending)).unwrap();
    }
    assert_eq!((leased.len(), leased[0].attempts), (1, 1), "leased once, and known to whoever sends it");
    let answer = "so it went".into();
    store.tried(&Tried { delivery: leased[0].id, state: DeliveryState::Delivered, due: 0.0, answer }, 3.0).unwrap();
    assert_eq!(store.lease("queue", 4.0, 1).unwrap(), []);
}

#[test]
#[ignore = "needs PostgreSQL: `.ci/run postgres`"]
fn a_connection_that_was_ended_is_made_anew() {
    let mut server = support::Server::start();
    let (mut store, tenure) = own(&server.address(None), "a", "one");
    store.commit(&Commit { journal: vec![entry("before")], ..Commit::default() }).unwrap();
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'nextrun'";
    assert_ne!(server.sql("nextrun", end), "0");
    store.commit(&Commit { journal: vec![entry("ended by an administrator")], ..Commit::default() }).unwrap();
    server.crash();
    let down = store.commit(&Commit { journal: vec![entry("never")], ..Commit::default() }).unwrap_err();
    assert!(down.may_pass() && down.to_string().contains("can be reached"), "{down}");
    server.resume();
    store.commit(&Commit { journal: vec![entry("after a crash")], ..Commit::default() }).unwrap();
    assert_eq!(kinds(&mut store), ["before", "ended by an administrator", "after a crash"]);
    assert!(!tenure.watch().is_lost(), "nobody took over meanwhile");
}

#[test]
#[ignore = "needs PostgreSQL: `.ci/run postgres`"]
fn whoever_was_superseded_changes_nothing_and_the_journal_tells_whose_entry_it_is() {
    let server = support::Server::start();
    let address = format!("{}?lease=1", server.address(None));
    let (mut first, tenure) = own(&address, "a", "one");
    first.commit(&Commit { journal: vec![entry("first")], ..Commit::default() }).unwrap();
    let claimed = |identity: &str| {
        let server = super::tests::server(&address).for_name("a");
        Claim::new(&server, identity, identity).make().unwrap()
    };
    let owner = claimed("two").unwrap_err();
    assert_eq!((owner.owner.as_str(), owner.term), ("one", 1), "it is owned");
    assert!(owner.left.is_some_and(|left| left <= 1.0));
    // It is not renewed any more, as if the process was stopped.
    let held = tenure.watch();
    drop(tenure);
    let (mut second, tenure) = loop {
        if let Ok(claimed) = claimed("two") {
            break claimed;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert_eq!((tenure.owner.term, tenure.watch().is_certain(), held.is_certain()), (2, true, false));
    for refused in [
        first.commit(&Commit { journal: vec![entry("late")], ..Commit::default() }).unwrap_err(),
        first.requests().unwrap_err(),
        first.lease("queue", 1.0, 1).unwrap_err(),
    ] {
        assert!(matches!(refused, StoreError::Superseded { .. }) && !refused.may_pass(), "{refused}");
    }
    second.commit(&Commit { journal: vec![entry("second")], ..Commit::default() }).unwrap();
    let journal = format!("SELECT string_agg(kind || term, ' ' ORDER BY id) FROM {}.journal", second.tables);
    assert_eq!(server.sql("nextrun", &journal), "first1 second2");
    // A restart of the same daemon waits for nobody, and an orderly end leaves the log directory to others.
    let (_, third) = claimed("two").unwrap();
    assert_eq!(third.owner.term, 3);
    drop(tenure);
    third.release();
    assert_eq!(claimed("four").unwrap().1.owner.term, 4);
}

#[test]
#[ignore = "needs PostgreSQL: `.ci/run postgres`"]
fn an_owner_that_stops_within_a_transaction_delays_a_take_over_only_a_little() {
    let server = support::Server::start();
    let address = format!("{}?lease=1", server.address(None));
    let (mut first, tenure) = own(&address, "a", "one");
    drop(tenure);
    let owned = first.owned(Access::Write);
    let mut within = Within::begin(&mut first.link, (Access::Write, "public", owned.as_deref())).unwrap();
    let server = super::tests::server(&address).for_name("a");
    let second = loop {
        match Claim::new(&server, "two", "two").make() {
            Ok(Ok(claimed)) => break claimed,
            Ok(Err(_)) => std::thread::sleep(std::time::Duration::from_millis(20)),
            Err(error) => assert!(error.may_pass(), "{error}"),
        }
    };
    assert_eq!(second.1.owner.term, 2);
    let late = within.execute("SELECT 1", &[]).unwrap_err();
    assert!(late.to_string().contains("code 25P03") || late.may_pass(), "{late}");
}

#[test]
#[ignore = "needs PostgreSQL: `.ci/run postgres`"]
fn of_two_answers_at_the_same_moment_one_counts() {
    let server = support::Server::start();
    let (mut owner, _tenure) = own(&server.address(None), "a", "one");
    let ask = |id: String| Ask {
        id,
        case: CaseId("c1".into()),
        job: "runs/1".into(),
        kind: AskKind::Approval,
        shown: json!({}),
        fingerprint: String::new(),
        answers: vec!["run".into()],
        asked: 1.0,
        expires: 9.0,
        state: AskState::Open,
    };
    let asks: Vec<Ask> = (0..20).map(|number| ask(format!("a{number}"))).collect();
    owner.commit(&Commit { asks, ..Commit::default() }).unwrap();
    let guest = super::tests::server(&server.address(None));
    let answer = |user: &str| {
        let mut store = Postgres::open_existing(&guest).unwrap();
        let by = Person { provider: "local".into(), user: user.into(), name: None };
        let reply = Reply { answer: "run".into(), by, at: 2.0, why: String::new() };
        let kept = (0..20).map(|number| store.reply(&format!("a{number}"), None, &reply).unwrap());
        kept.filter(|replied| matches!(replied, Replied::Kept(_))).count()
    };
    let (one, two) = std::thread::scope(|scope| {
        let (one, two) = (scope.spawn(|| answer("ada")), scope.spawn(|| answer("bob")));
        (one.join().unwrap(), two.join().unwrap())
    });
    assert_eq!((one + two, owner.requests().unwrap().len()), (20, 20), "each is answered once");
}

#[test]
#[ignore = "needs PostgreSQL: `.ci/run postgres`"]
fn each_way_of_not_being_let_in_says_what_to_do() {
    let server = support::Server::start();
    let address = server.address(None);
    let told = |address: &str, password: &'static str| {
        let server = Server::parse(address).unwrap().with_password(Arc::new(move || Ok(password.to_owned())));
        let server = server.for_name("a");
        let mut claim = Claim::new(&server, "one", "one");
        claim.make().err().map_or_else(String::new, |error| error.to_string())
    };
    let right = support::PASSWORD;
    let nobody = closed_port();
    for (address, password, words) in [
        (address.clone(), "wrong", "store.password"),
        (address.replace("nextrun@", "nobody@"), right, "store.password"),
        (address.replace("/nextrun", "/missing").replace("//missing", "//nextrun"), right, "create the database"),
        (server.address(Some(nobody)), right, "can be reached"),
        (format!("{address}?sslmode=require"), right, "sslrootcert"),
    ] {
        let error = told(&address, password);
        assert!(error.contains(words) && error.contains(&address), "{words}: {error}");
        assert!(!error.contains(right), "{error}");
    }
    assert_eq!(
        Postgres::open_read_only(&super::tests::server(&address))
            .err()
            .map(|error| error.to_string().contains("holds no cases")),
        Some(true)
    );
    server.sql(
        "nextrun",
        "CREATE ROLE guest LOGIN PASSWORD 'guest'; CREATE ROLE many LOGIN PASSWORD 'many' CONNECTION LIMIT 0",
    );
    let error = told(&address.replace("nextrun@", "guest@"), "guest");
    assert!(error.contains("grant") && error.contains("42501"), "{error}");
    let error = told(&address.replace("nextrun@", "many@"), "many");
    assert!(error.contains("max_connections") && error.contains("53300"), "{error}");
    server.sql("nextrun", "ALTER DATABASE nextrun SET default_transaction_read_only = on");
    let error = told(&address, right);
    assert!(error.contains("replica") && error.contains("25006"), "{error}");
}

#[test]
#[ignore = "needs PostgreSQL: `.ci/run postgres`"]
fn tls_is_used_where_it_is_verified() {
    let server = support::Server::start();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls");
    for (setting, file) in [("ssl_cert_file", "signed.pem"), ("ssl_key_file", "signed-key.pem")] {
        let path = server.private(file, &std::fs::read_to_string(format!("{folder}/{file}")).unwrap());
        server.sql("nextrun", &format!("ALTER SYSTEM SET {setting} = '{}'", path.display()));
    }
    server.sql("nextrun", "ALTER SYSTEM SET ssl = on");
    server.sql("nextrun", "SELECT pg_reload_conf()");
    while server.sql("nextrun", "SHOW ssl") != "on" {}
    let address = |host: &str, options: &str| {
        server.address(None).replace("127.0.0.1", host) + &format!("?sslmode=verify-full&hostaddr=127.0.0.1{options}")
    };
    let authority = format!("&sslrootcert={folder}/authority.pem");
    let told = |address: &str| {
        let server = super::tests::server(address).for_name("a");
        let mut claim = Claim::new(&server, "one", "one");
        claim.make().err().map_or_else(String::new, |error| error.to_string())
    };
    let (mut store, _tenure) = own(&address("localhost", &authority), "a", "one");
    store.commit(&Commit { journal: vec![entry("encrypted")], ..Commit::default() }).unwrap();
    let encrypted = "SELECT count(*) > 0 AND bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity USING (pid)
                     WHERE application_name = 'nextrun'";
    assert_eq!(server.sql("nextrun", encrypted), "t");
    for address in [address("localhost", ""), address("db.example", &authority)] {
        let error = told(&address);
        assert!(error.contains("certificate") && error.contains("sslrootcert"), "{address}: {error}");
    }
}

/// A port on which nobody listens.
fn closed_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
#[ignore = "needs PostgreSQL: `.ci/run postgres`"]
fn a_lock_of_someone_else_is_not_waited_for_for_ever() {
    let server = support::Server::start();
    let (mut store, _tenure) = own(&server.address(None), "a", "one");
    let lock = format!("BEGIN; LOCK TABLE {}.journal; SELECT pg_sleep(9)", store.tables);
    let locked = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted";
    let error = std::thread::scope(|scope| {
        scope.spawn(|| server.sql("nextrun", &lock));
        while server.sql("nextrun", locked) == "0" {}
        store.commit(&Commit { journal: vec![entry("x")], ..Commit::default() }).unwrap_err()
    });
    assert!(error.may_pass() && error.to_string().contains("pg_stat_activity"), "{error}");
}

#[test]
#[ignore = "needs PostgreSQL: `.ci/run postgres`"]
fn what_texts_may_not_contain_is_replaced() {
    let server = support::Server::start();
    let (mut store, _tenure) = own(&server.address(None), "a", "one");
    let requests = vec![(Some(CaseId("c\0".into())), Wish::Link("a\0b".into()))];
    store.commit(&Commit { requests, ..Commit::default() }).unwrap();
    let read = store.requests().unwrap().remove(0).unwrap();
    assert_eq!((read.case, read.wish), (Some(CaseId("c\u{fffd}".into())), Wish::Link("a\0b".into())));
    assert_eq!(store.history(Which::default()).unwrap(), []);
}

#[test]
#[ignore = "needs PostgreSQL: `.ci/run postgres`"]
fn a_newer_or_older_program_is_told_so() {
    let server = support::Server::start();
    let (store, tenure) = own(&server.address(None), "a", "one");
    let set = |version: i64| server.sql("nextrun", &format!("UPDATE {}.version SET schema = {version}", store.tables));
    let guest = super::tests::server(&server.address(None));
    set(99);
    let told = Postgres::open_read_only(&guest).unwrap_err().to_string();
    assert!(told.contains("schema 99") && told.contains("newer"), "{told}");
    let claim = Claim::new(&guest.clone().for_name("a"), "one", "one").make().err();
    assert!(matches!(claim, Some(StoreError::Newer { found: 99, .. })));
    set(schema::KNOWN);
    assert!(Postgres::open_read_only(&guest).unwrap().recover(1.0).is_err(), "a listing writes nothing");
    drop(tenure);
}

#[test]
#[ignore = "needs PostgreSQL: `.ci/run postgres`"]
fn everything_goes_there_and_back_and_stays_the_same() {
    let server = support::Server::start();
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| StorePlace::File(folder.path().join(name).join("nextrun.db"));
    let there = StorePlace::Server(Box::new(super::tests::server(&server.address(None)).for_name("a")));
    std::fs::create_dir(folder.path().join("old")).unwrap();
    let released = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/stores/schema1.db");
    std::fs::copy(released, folder.path().join("old/nextrun.db")).unwrap();
    let mut old = Sqlite::open(&folder.path().join("old/nextrun.db")).unwrap();
    let ask = (CaseId("c1".into()), JournalEntry { time: 1.0, kind: "x".into(), detail: json!({"text": "a\0b"}) });
    let requests = vec![(None, Wish::Link("a\0b".into()))];
    old.commit(&Commit { journal: vec![ask], requests, ..Commit::default() }).unwrap();
    drop(old);
    let copied = crate::store::copy(&place("old"), &there).unwrap();
    assert_eq!(copied, crate::store::copy(&there, &place("new")).unwrap());
    let all = |place: &StorePlace| {
        let mut store = place.open_read_only().unwrap();
        let journal = store.journal(&CaseId("c1".into())).unwrap();
        (store.cases(false).unwrap(), store.history(Which::default()).unwrap(), store.requests().unwrap(), journal)
    };
    assert_eq!(all(&place("old")), all(&there));
    assert_eq!(all(&place("old")), all(&place("new")));
    // New rows get new numbers.
    let (mut owner, _tenure) = own(&server.address(None), "a", "one");
    let owed = vec![(conformance::message("new", "new"), vec!["queue".to_owned()])];
    owner.commit(&Commit { messages: owed, journal: vec![entry("new")], ..Commit::default() }).unwrap();
    let newest = owner.history(Which::default()).unwrap().remove(0).unwrap();
    assert_eq!((newest.delivery.id, newest.delivery.message.id.as_str()), (24, "new"));
    let busy = crate::store::copy(&there, &place("third")).unwrap_err().to_string();
    assert!(busy.contains("one owns the cases of a") && busy.contains("stop the daemons"), "{busy}");
}
