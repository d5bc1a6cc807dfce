//! The program as a whole: the real binary watches a log directory, and a simulated cluster trains its suggestions.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stage; // the daemon, its directories, its commands

#[path = "../support/postgres.rs"]
mod postgres; // a database server
#[path = "../support/proxy.rs"]
mod proxy; // a network that fails
mod training; // a made-up script, and what it logs
mod web; // a job queue and a webhook on the loopback

mod chaos; // several daemons, of which any fails at any time
mod consent; // what people approve
mod deliveries; // what a person decides about messages, and what one destination alone cannot stop
mod faults; // a disk, a clock, a log directory and files that fail or change, no certificates
mod fleet; // several daemons that share a database
mod forward; // files of another machine
mod hand; // what people do: link, answer, close
mod kills; // killed without warning, again and again
mod noise; // what people are told when much goes wrong at once
mod old; // years of runs that are not read
mod operate; // status page, reload, stop
mod pages; // what a browser is shown
mod probes; // what is settled before people hear of it
mod reports; // what those who run jobs tell over HTTP
#[cfg(target_os = "linux")]
mod runner; // the loop on one machine, run by the runner
mod several; // several log directories in one daemon
mod trials; // runs that are no evidence
mod whole; // from a failing run to its cause
