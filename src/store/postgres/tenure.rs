//! Who owns the cases of a log directory: a lease in the register, renewed while the daemon lives.
//!
//! Owns: claiming, renewing, releasing. Must not know: what an owner does.
//!
//! A lease does not prevent two processes from believing that they own the cases; the term in every transaction does.
//! The lease decides when another daemon takes over, and it keeps the former owner from sending: a process trusts its lease
//! only for a part of the time that it asked for, counted from before it asked, on its own clock.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::address::Server;
use super::link::{Access, Link};
use super::{Postgres, schema, within};
use crate::store::sql::Sql;
use crate::store::{KnownDirectory, StoreError, directories};

/// The part of the lease in which it is trusted, because the clocks of two machines differ in speed.
const TRUSTED: f64 = 14.0 / 15.0;

/// Renewals per lease.
const RENEWALS: u32 = 3;

/// A claim to the cases of a log directory.
#[derive(Debug)]
pub struct Claim {
    link: Link,
    owner: String,
    identity: String,
}

/// An owner of cases.
#[derive(Debug, Clone, PartialEq)]
pub struct Owner {
    /// The log directory, or the name that its address gives.
    pub name: String,
    /// The daemon; empty if there was none yet.
    pub owner: String,
    /// The number of the ownership.
    pub term: i64,
    /// When it began, in seconds since the Unix epoch.
    pub since: Option<f64>,
    /// Seconds until its lease ends without renewal; negative if it ended, `None` if it was given up.
    pub left: Option<f64>,
}

/// Our ownership, renewed by a thread until it is released, lost or dropped.
#[derive(Debug)]
pub struct Tenure {
    shared: Arc<Shared>,
    /// Who owns the cases: this daemon.
    pub owner: Owner,
    keeper: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    trusted_until: Instant,
    /// Another daemon has taken over.
    lost: bool,
    end: Option<End>,
}

/// How a tenure ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Another daemon may take over at once.
    Release,
    /// Nobody asks any more.
    Drop,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment, so that a panic elsewhere leaves no partial change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// A claim to the cases of the log directory that is the name of `server`. `owner` is the daemon, for people; `identity` is
    /// the same text after a restart, and different for every other daemon: what a former process of it owned is ours.
    pub fn new(server: &Server, owner: &str, identity: &str) -> Claim {
        let link = Link::new(server.clone());
        Claim { link, owner: owner.to_owned(), identity: identity.to_owned() }
    }

    /// Takes the cases over if nobody owns them: the store and the ownership, or the present owner.
    ///
    /// # Errors
    /// The server cannot be used, or a newer nextrun wrote the tables.
    pub fn make(&mut self) -> Result<Result<(Postgres, Tenure), Owner>, StoreError> {
        let begun = Instant::now();
        let server = self.link.server().clone();
        let name = server.name.clone().unwrap_or_default();
        let (term, tables) = match self.register(&name, server.lease.as_secs_f64())? {
            Ok(claimed) => claimed,
            Err(owner) => return Ok(Err(owner)),
        };
        let tenure = Tenure::keep(&server, &name, term, begun, &self.owner);
        let link = std::mem::replace(&mut self.link, Link::new(server));
        Ok(Ok((Postgres::of_owner(link, name, tables, term)?, tenure)))
    }

    fn register(&mut self, name: &str, lease: f64) -> Result<Result<(i64, String), Owner>, StoreError> {
        let (owner, identity) = (&self.owner, &self.identity);
        within(&mut self.link, (Access::Write, schema::REGISTER, None), |sql| {
            if sql.query(schema::HAS_REGISTER, &[])?.is_empty() {
                sql.batch(schema::LOCK)?;
                sql.batch(schema::CREATE_REGISTER)?;
            }
            let insert = "INSERT INTO logdirs (name, tables) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING";
            sql.execute(insert, &[&name, &schema::tables_of(name)])?;
            let take = "UPDATE logdirs SET term = term + 1, owner = ?2, identity = ?3, taken = clock_timestamp(),
                    until = clock_timestamp() + ?4 * interval '1 second'
                 WHERE name = ?1 AND (until < clock_timestamp() OR identity = ?3) RETURNING term, tables";
            if let Some(row) = sql.first(take, &[&name, owner, identity, &lease])? {
                return Ok(Ok((row.get(0)?, row.get(1)?)));
            }
            let owner = owners(sql)?.into_iter().find(|owner| owner.name == name);
            Ok(Err(owner.ok_or(StoreError::Gone)?))
        })
    }
}

impl Tenure {
    fn keep(server: &Server, name: &str, term: i64, begun: Instant, owner: &str) -> Tenure {
        let trusted_until = begun + server.lease.mul_f64(TRUSTED);
        let state = Mutex::new(State { trusted_until, lost: false, end: None });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let keeper = Keeper { link: Link::new(server.clone()), name: name.to_owned(), term, shared: shared.clone() };
        let keeper = std::thread::spawn(move || keeper.run());
        let owner = Owner { name: name.to_owned(), owner: owner.to_owned(), term, since: None, left: None };
        Tenure { shared, owner, keeper: Some(keeper) }
    }

    /// Asks whether the ownership is certain at a moment.
    pub fn watch(&self) -> Held {
        Held(Some(self.shared.clone()))
    }

    /// Lets another daemon take over at once. Waits for the server only while it answers.
    pub fn release(mut self) {
        self.end(End::Release);
        if let Some(keeper) = self.keeper.take() {
            drop(keeper.join());
        }
    }

    fn end(&self, end: End) {
        self.shared.state().end.get_or_insert(end);
        self.shared.changed.notify_all();
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        self.end(End::Drop);
    }
}

/// Whether this process owns the cases.
#[derive(Debug, Clone, Default)]
pub struct Held(Option<Arc<Shared>>);

impl Held {
    /// Whether it certainly owns them at this moment. Otherwise, the server has not confirmed this for a while, or another
    /// daemon has taken over. A store that only one process can use is always owned.
    pub fn is_certain(&self) -> bool {
        self.0.as_ref().is_none_or(|shared| {
            let state = shared.state();
            !state.lost && Instant::now() < state.trusted_until
        })
    }

    /// Whether another daemon has taken over.
    pub fn is_lost(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.state().lost)
    }
}

/// Renews the lease.
struct Keeper {
    link: Link,
    name: String,
    term: i64,
    shared: Arc<Shared>,
}

impl Keeper {
    fn run(mut self) {
        let every = self.link.server().lease / RENEWALS;
        let mut wait = every;
        loop {
            match self.wait(wait) {
                Some(End::Release) => return self.give_up(),
                Some(End::Drop) => return,
                None => {}
            }
            let begun = Instant::now();
            let lease = self.link.server().lease;
            match self.renew(lease.as_secs_f64()) {
                Ok(true) => {
                    self.shared.state().trusted_until = begun + lease.mul_f64(TRUSTED);
                    wait = every.saturating_sub(begun.elapsed());
                }
                Ok(false) => {
                    self.shared.state().lost = true;
                    return;
                }
                // The store tells of it.
                Err(error) => {
                    tracing::debug!(%error, "could not renew the lease");
                    wait = every / 4;
                }
            }
        }
    }

    /// Waits, unless the end comes first.
    fn wait(&self, time: Duration) -> Option<End> {
        let until = Instant::now() + time;
        let mut state = self.shared.state();
        while state.end.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.end
    }

    fn renew(&mut self, lease: f64) -> Result<bool, StoreError> {
        let (name, term) = (self.name.clone(), self.term);
        let renew = "UPDATE logdirs SET until = clock_timestamp() + ?3 * interval '1 second'
                     WHERE name = ?1 AND term = ?2";
        within(&mut self.link, (Access::Write, schema::REGISTER, None), |sql| {
            Ok(sql.execute(renew, &[&name, &term, &lease])? == 1)
        })
    }

    fn give_up(&mut self) {
        // If the server does not answer, it would only delay the end; the lease ends by itself.
        if Instant::now() >= self.shared.state().trusted_until {
            return;
        }
        let (name, term) = (self.name.clone(), self.term);
        let release = "UPDATE logdirs SET until = '-infinity' WHERE name = ?1 AND term = ?2";
        let released = within(&mut self.link, (Access::Write, schema::REGISTER, None), |sql| {
            sql.execute(release, &[&name, &term])
        });
        if let Err(error) = released {
            tracing::warn!(%error, "could not release the log directory; another daemon takes over when the lease ends");
        }
    }
}

/// The owners of all log directories in a database, by name.
///
/// # Errors
/// The server cannot be used.
pub(super) fn all(server: &Server) -> Result<Vec<Owner>, StoreError> {
    in_register(&mut Link::new(server.clone()))
}

/// See [`Postgres::watched_by_others`].
pub(super) fn watched_by_others(server: &Server) -> Result<Vec<(Owner, Vec<KnownDirectory>)>, StoreError> {
    within(&mut Link::new(server.clone()), (Access::Read, schema::REGISTER, None), |sql| {
        let others = owners(sql)?.into_iter().filter(|owner| Some(&owner.name) != server.name.as_ref());
        let alive = others.filter(|owner| owner.left.is_some_and(|left| left > 0.0));
        alive
            .map(|owner| {
                let watched = watched_by(sql, &owner.name)?;
                Ok((owner, watched))
            })
            .collect()
    })
}

/// The log directories that the owner of a name watches.
fn watched_by(sql: &mut dyn Sql, name: &str) -> Result<Vec<KnownDirectory>, StoreError> {
    let table = format!("{}.directories", schema::tables_of(name));
    if sql.query("SELECT 1 WHERE to_regclass(?1) IS NOT NULL", &[&table])?.is_empty() {
        // A daemon of an older version: the name is its only directory, or one that the operator chose.
        return Ok(vec![KnownDirectory { place: name.to_owned(), name: None, watched: true }]);
    }
    let rows = sql.query(&format!("SELECT place, name, watched FROM {table} WHERE watched = 1 ORDER BY place"), &[])?;
    rows.iter().map(directories::row).collect()
}

fn in_register(link: &mut Link) -> Result<Vec<Owner>, StoreError> {
    within(link, (Access::Read, schema::REGISTER, None), |sql| {
        if sql.query(schema::HAS_REGISTER, &[])?.is_empty() { Ok(Vec::new()) } else { owners(sql) }
    })
}

fn owners(sql: &mut dyn Sql) -> Result<Vec<Owner>, StoreError> {
    let rows = sql.query(
        "SELECT name, owner, term, extract(epoch FROM taken)::float8,
            CASE WHEN isfinite(until) THEN extract(epoch FROM until - clock_timestamp())::float8 END
         FROM nextrun.logdirs ORDER BY name",
        &[],
    )?;
    let read = |row: &crate::store::sql::Row| {
        let (name, owner, term) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Owner { name, owner, term, since: row.get(3)?, left: row.get(4)? })
    };
    rows.iter().map(read).collect()
}

/// The name whose cases the address means, and the schema with its tables: the only one if the address does not say.
pub(super) fn registered(link: &mut Link) -> Result<(String, String), StoreError> {
    let (place, wanted) = (link.place().to_string(), link.server().name.clone());
    let refused = |reason: String, advice| StoreError::Refused { place: place.clone(), reason, advice };
    let names: Vec<String> = in_register(link)?.into_iter().map(|owner| owner.name).collect();
    let start = "start `nextrun watch` with this `store` once, or correct the name";
    match (wanted, names.as_slice()) {
        (Some(wanted), names) if names.contains(&wanted) => Ok((wanted.clone(), schema::tables_of(&wanted))),
        (Some(wanted), _) => Err(refused(format!("it holds no cases of {wanted}"), start)),
        (None, [only]) => Ok((only.clone(), schema::tables_of(only))),
        (None, []) => Err(refused("it holds no cases".to_owned(), start)),
        (None, several) => {
            let advice = "set `watch.logdir`, or add `name=` to the address";
            Err(refused(format!("it holds the cases of {}", several.join(", ")), advice))
        }
    }
}
