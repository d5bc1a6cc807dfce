//! Object stores as log directories, over a store in memory.

use object_store::memory::InMemory;
use object_store::path::Path as Key;

use super::super::conformance::{Subject, holds};
use super::super::place::Place;
use super::*;

struct Stored {
    store: Arc<InMemory>,
    logdir: ObjectLogdir,
    prefix: &'static str,
}

impl Stored {
    fn under(prefix: &'static str) -> Stored {
        let Ok(Place::Objects(bucket)) = Place::parse(format!("s3://bucket/{prefix}")) else { panic!("a bucket") };
        let store = Arc::new(InMemory::new());
        let client: Arc<dyn ObjectStore> = store.clone();
        Stored { logdir: ObjectLogdir::over(client, &bucket).expect("a runtime"), store, prefix }
    }

    fn put(&self, key: &str, contents: &[u8]) {
        let (key, contents) = (Key::parse(key).expect("a key"), contents.to_vec());
        let put = self.store.put(&key, contents.into());
        self.logdir.remote.runtime.block_on(put).expect("room for it");
    }

    fn listed(&self) -> Vec<PathBuf> {
        self.logdir.discover(Path::new("")).entries.into_iter().map(|entry| entry.path).collect()
    }
}

impl Subject for Stored {
    fn logdir(&self) -> &dyn Logdir {
        &self.logdir
    }

    fn set(&self, path: &str, contents: Option<&[u8]>) {
        let key = [self.prefix, path].join(if self.prefix.is_empty() { "" } else { "/" });
        match contents {
            Some(contents) => self.put(&key, contents),
            None => {
                let key = Key::parse(key).expect("a key");
                self.logdir.remote.runtime.block_on(self.store.delete(&key)).expect("it was there");
            }
        }
    }
}

#[test]
fn a_bucket_and_a_prefix_are_log_directories() {
    holds(|| Stored::under(""));
    holds(|| Stored::under("team a/runs"));
}

#[test]
fn a_prefix_is_a_directory_and_not_the_start_of_a_name() {
    let stored = Stored::under("runs");
    for key in ["runs/a/x.tfevents", "runs2/a/x.tfevents", "runs.tfevents", "x.tfevents"] {
        stored.put(key, b"1");
    }
    assert_eq!(stored.listed(), [Path::new("a/x.tfevents")]);
}

#[test]
fn what_keeps_anything_from_being_found_is_said() {
    let told = |stored: &Stored| stored.logdir.check().expect_err("there is nothing").to_string();
    let stored = Stored::under("runs");
    assert_eq!(told(&stored), "cannot list s3://bucket/runs: there is nothing under this prefix");
    stored.put("runs", b"1");
    assert!(told(&stored).contains("this is an object, not a prefix"), "{}", told(&stored));
    stored.put("runs/a/x.tfevents", b"1");
    stored.logdir.check().expect("there is something");
}

#[test]
fn of_very_many_objects_only_the_newest_versions_are_remembered() {
    let entry = |time: i128| {
        let stat = Stat { size: 1, modified: time, identity: (0, 0) };
        (Entry { path: PathBuf::from(format!("{time}.tfevents")), kind: Kind::Events, stat }, None)
    };
    let found: Vec<_> = [5, 9, 1, 7, 7, 3].map(entry).into();
    let remembered = |most| {
        let oldest = newest_from(&found, most);
        found.iter().filter(|(entry, _)| entry.stat.modified >= oldest).count()
    };
    assert_eq!([6, 5, 3, 2, 1].map(remembered), [6, 5, 3, 1, 1], "those of the same age together or not at all");
}

#[test]
fn a_version_put_between_listing_and_reading_is_read_instead() {
    let stored = Stored::under("runs");
    stored.put("runs/x.tfevents", b"old");
    stored.listed();
    stored.put("runs/x.tfevents", b"newer");
    let file = stored.logdir.open(Path::new("x.tfevents")).expect("a handle");
    let mut buffer = [0; 10];
    assert_eq!(file.read_at(&mut buffer, 0).expect("bytes"), 5);
    assert_eq!((&buffer[..5], file.stat().expect("a state").size), (&b"newer"[..], 5));
}

#[test]
fn a_version_put_while_another_is_read_is_not_mixed_in() {
    let stored = Stored::under("runs");
    stored.put("runs/x.tfevents", &[b'o'; 100_000]);
    stored.listed();
    let file = stored.logdir.open(Path::new("x.tfevents")).expect("a handle");
    let mut buffer = [0; 64];
    file.read_at(&mut buffer, 0).expect("the start");
    stored.put("runs/x.tfevents", &[b'n'; 100_000]);
    let error = file.read_at(&mut buffer, 50_000).expect_err("another version");
    assert!(error.to_string().contains("it changed while it was being read"), "{error}");
}

#[test]
fn paths_that_are_no_keys_are_not_found() {
    let stored = Stored::under("runs");
    stored.put("secret", b"1");
    for path in ["../secret", "a/../../secret", "a//b", "./secret"] {
        let error = stored.logdir.stat(Path::new(path)).expect_err(path);
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(stored.logdir.discover(Path::new(path)).entries.is_empty());
    }
}

#[test]
fn clients_are_set_up_by_the_variables_that_are_usual_for_their_store() {
    let build = |place: &str, variables: &[(&str, &str)]| {
        let Ok(Place::Objects(bucket)) = Place::parse(place) else { panic!("a bucket") };
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        ObjectLogdir::new(&bucket, &variables).map(|_| ()).map_err(|error| error.to_string())
    };
    let account = ("AZURE_STORAGE_ACCOUNT_NAME", "ours");
    let told = build("az://runs", &[]).expect_err("no account");
    assert!(told.contains(account.0), "{told}");
    assert_eq!(build("az://runs", &[account, ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")]), Ok(()));
    assert_eq!(build("s3://runs", &[("AWS_REGION", "eu-central-1"), ("AWS_SOMETHING_ELSE", "x")]), Ok(()));
    let told = build("gs://runs", &[("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/file.json")]).expect_err("no file");
    assert!(told.contains("GOOGLE_APPLICATION_CREDENTIALS"), "{told}");
    assert!(build("gs://runs", &[("GOOGLE_SKIP_SIGNATURE", "perhaps")]).is_err());
}

#[test]
fn a_store_without_an_address_is_told_without_secrets() {
    // The port of a listener that is gone refuses connections.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let Ok(Place::Objects(bucket)) = Place::parse("s3://bucket/runs") else { panic!("a bucket") };
    let mut variables = BTreeMap::from([
        ("AWS_ACCESS_KEY_ID", "key-of-somebody".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "not-for-logs".to_owned()),
        ("AWS_ENDPOINT", format!("http://127.0.0.1:{port}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
    ])
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect::<BTreeMap<_, _>>();
    let logdir = ObjectLogdir::new(&bucket, &variables).expect("a client");
    let found = logdir.discover(Path::new(""));
    assert_eq!(found.unseen, [Path::new("")], "nothing is known to have vanished");
    let problem = &found.problems[0];
    assert!(problem.contains("s3://bucket/runs") && problem.contains("is unreachable"), "{problem}");
    assert!(!problem.contains("somebody") && !problem.contains("not-for-logs"), "{problem}");
    let error = logdir.open(Path::new("x.tfevents")).err().expect("no answer");
    assert!(error.to_string().contains("an earlier request of this scan got no response"), "{error}");

    variables.remove("AWS_SECRET_ACCESS_KEY");
    let error = ObjectLogdir::new(&bucket, &variables).err().expect("half of the credentials");
    assert!(error.to_string().contains("SecretAccessKey"), "{error}");
}
