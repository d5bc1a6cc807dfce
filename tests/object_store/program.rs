//! The program with an S3 server that verifies signatures, compared with the same files on a disk.

use std::fs;
use std::path::Path;
use std::process::Command;

use axum::Router;
use axum::error_handling::HandleError;
use axum::http::StatusCode;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{KEY, SECRET, records, variables};

/// An S3 server whose buckets are folders of `root`.
struct Server {
    root: TempDir,
    address: String,
    _runtime: Runtime,
}

impl Server {
    fn start() -> Server {
        let root = tempfile::tempdir().unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(root.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = HandleError::new(builder.build(), |_| async { StatusCode::INTERNAL_SERVER_ERROR });
        let (address, runtime) = super::serve(Router::new().fallback_service(service));
        Server { root, address, _runtime: runtime }
    }

    fn write(&self, path: &str, contents: &[u8]) {
        let path = self.root.path().join("bucket/runs").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    /// Exit code, standard output, standard error.
    fn nextrun(&self, arguments: &[&str], secret: &str) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_nextrun"))
            .args(arguments)
            .envs(variables(&self.address))
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn on_disk(&self) -> &Path {
        self.root.path()
    }
}

/// Takes out of reports in JSON for how long each job has been silent. It is measured against the clock, and two programs
/// that run one after the other differ in it, and in nothing else.
fn take_silences(reports: &mut String) -> Vec<f64> {
    let mut silences = Vec::new();
    let mut lines: Vec<String> = reports.lines().map(str::to_owned).collect();
    for line in lines.iter_mut().filter(|line| line.starts_with('{')) {
        let mut report: Value = serde_json::from_str(line).unwrap();
        let silence = report["quantities"].as_object_mut().and_then(|quantities| quantities.remove("silence"));
        silences.extend(silence.and_then(|silence| silence[0].as_f64()));
        *line = report.to_string();
    }
    *reports = lines.join("\n");
    silences
}

#[test]
fn every_command_says_of_objects_what_it_says_of_the_same_files() {
    let server = Server::start();
    let hparams = b"learning_rate: 0.5\noptimizer: adam\nmax_steps: 300\n";
    for job in ["a", "sweep 1/lr=0.1,b%20c/train", "team/\u{fc}"] {
        server.write(&format!("{job}/events.out.tfevents.1700000000.node"), &records(0..301));
        server.write(&format!("{job}/hparams.yaml"), hparams);
    }
    let mut damaged = records(0..301);
    damaged[5000] ^= 1;
    server.write("damaged/events.out.tfevents.1700000000.node", &damaged);
    server.write("damaged/hparams.yaml", hparams);
    let disk = server.on_disk().join("bucket/runs").display().to_string();
    let compare = |command: &[&str]| {
        let from = |place: &str| server.nextrun(&[&command[..1], &[place], &command[1..]].concat(), SECRET);
        let (mut there, mut here) = (from("s3://bucket/runs/"), from(&disk));
        let silences = [take_silences(&mut there.1), take_silences(&mut here.1)];
        assert_eq!(there, here, "{command:?}");
        assert_eq!(silences[0].len(), silences[1].len(), "{command:?}");
        for (there, here) in silences[0].iter().zip(&silences[1]) {
            assert!((there - here).abs() <= 1e-4 * there, "{command:?}: {silences:?}");
        }
        assert!(there.0 <= 1 && there.1.lines().count() >= 4, "{there:?}");
    };
    compare(&["diagnose", "--format", "json"]);
    compare(&["scalars"]);
    compare(&["files"]);
    // What is behind the objects grows, is cut, is replaced, and goes.
    server.write("a/events.out.tfevents.1700000000.node", &records(0..290));
    server.write("sweep 1/lr=0.1,b%20c/train/events.out.tfevents.1700000000.node", &records(0..3_000));
    server.write("team/\u{fc}/events.out.tfevents.1700000000.node", &records(100..400));
    fs::remove_dir_all(server.on_disk().join("bucket/runs/damaged")).unwrap();
    server.write("b/events.out.tfevents.1700000000.node", &records(0..301));
    compare(&["diagnose", "--format", "json"]);
    compare(&["scalars"]);
    compare(&["files"]);
}

#[test]
fn what_keeps_it_from_reading_is_told_without_secrets() {
    let server = Server::start();
    server.write("a/events.out.tfevents.1", &records(0..5));
    let told = |place: &str, secret: &str| {
        let (code, out, err) = server.nextrun(&["diagnose", place], secret);
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(!err.contains(secret) && !err.contains(&server.address), "{err}");
        err
    };
    let err = told("s3://bucket/runs", "another-secret");
    assert!(err.contains("cannot list s3://bucket/runs: access denied (HTTP 403, SignatureDoesNotMatch)"), "{err}");
    assert!(err.contains("AWS_SECRET_ACCESS_KEY"), "{err}");
    let err = told("s3://nothing/runs", SECRET);
    assert!(err.contains("there is no bucket nothing"), "{err}");
    let err = told("s3://bucket/typo", SECRET);
    assert!(err.contains("cannot list s3://bucket/typo: there is nothing under this prefix"), "{err}");
}
