//! Log directories in object stores, over HTTP on the loopback address: the cost of a scan, changes by the store in
//! between, and equality with reading from a disk.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bucket;
mod looks;
mod program;

use std::collections::BTreeMap;
use std::net::TcpListener;

use axum::Router;
use tokio::runtime::Runtime;

const KEY: &str = "AKIAEXAMPLE";
const SECRET: &str = "a-secret-that-nobody-prints";

/// Serves until the runtime is dropped, and gives its address.
fn serve(routes: Router) -> (String, Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        axum::serve(listener, routes).await.unwrap();
    });
    (address, runtime)
}

/// What an operator sets for a store at this address.
fn variables(address: &str) -> BTreeMap<String, String> {
    let set = [
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_ENDPOINT", address),
        ("AWS_ALLOW_HTTP", "true"),
    ];
    set.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Records of the steps, each with its loss.
fn records(steps: std::ops::Range<i64>) -> Vec<u8> {
    let scalar = |step: i64| {
        let loss = 2.0 * (-step as f32 / 60.0).exp();
        nextrun::tfevents::encode::scalar(1.7e9 + step as f64, step, "train/loss", loss)
    };
    steps.flat_map(scalar).collect()
}
