//! The store in a PostgreSQL database, which several daemons can share.
//!
//! Owns: transactions, ownership of the cases of a log directory, migrations. Must not know: the meaning of a state, when
//! to retry.
//!
//! Each log directory has tables of its own, and one owner at a time. Every transaction of the owner compares its term with
//! the register in the same transaction, so a daemon that was stopped or cut off for longer than its lease changes
//! nothing any more. Times that decide ownership are the server's.

mod address;
mod link;
mod problem;
mod schema;
mod tenure;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::sql::{Database, Dialect, Row, Sql, ToSql, Unanswered};
use super::{CommitId, KnownDirectory, StoreError};
use crate::fault;
use link::{Access, Link};
use problem::{Leaves, Trouble};

pub use address::{AddressError, Password, Server};
pub use tenure::{Claim, Held, Owner, Tenure};

/// How often a transaction is repeated at once: after a conflict, or to learn whether it was committed.
const TRIES: usize = 3;

/// The store of one log directory in a PostgreSQL database.
#[derive(Debug)]
pub struct Postgres {
    link: Link,
    /// The schema with its tables.
    tables: String,
    /// Its name in the register.
    name: String,
    access: Access,
    /// The number of the ownership; `None`: another process owns the cases, and this one only asks.
    term: Option<i64>,
    unanswered: Unanswered,
}

impl Postgres {
    /// Opens the store for listing; never writes.
    ///
    /// # Errors
    /// The server cannot be used, has no such cases, or was used by another version of nextrun.
    pub fn open_read_only(server: &Server) -> Result<Postgres, StoreError> {
        Postgres::of_this_version(server, Access::Read)
    }

    /// Opens the store to send requests to the daemon that owns the cases.
    ///
    /// # Errors
    /// As [`Postgres::open_read_only`].
    pub fn open_existing(server: &Server) -> Result<Postgres, StoreError> {
        Postgres::of_this_version(server, Access::Write)
    }

    /// The owners of all log directories in a database, by name.
    ///
    /// # Errors
    /// The server cannot be used.
    pub fn owners(server: &Server) -> Result<Vec<Owner>, StoreError> {
        tenure::all(server)
    }

    /// The log directories that other daemons watch at this moment under other names, each with its owner.
    ///
    /// # Errors
    /// The server cannot be used.
    pub fn watched_by_others(server: &Server) -> Result<Vec<(Owner, Vec<KnownDirectory>)>, StoreError> {
        tenure::watched_by_others(server)
    }

    fn of_this_version(server: &Server, access: Access) -> Result<Postgres, StoreError> {
        let mut link = Link::new(server.clone());
        let (name, tables) = tenure::registered(&mut link)?;
        let mut store = Postgres { link, tables, name, access, term: None, unanswered: Unanswered::new() };
        let path = store.link.place().to_string();
        match store.version()? {
            schema::KNOWN => Ok(store),
            0 => Err(StoreError::Missing { path }),
            found if found < schema::KNOWN => Err(StoreError::Older { path, found, known: schema::KNOWN }),
            found => Err(StoreError::Newer { path, found, known: schema::KNOWN }),
        }
    }

    /// The store of an owner; creates its tables or migrates them.
    fn of_owner(mut link: Link, name: String, tables: String, term: i64) -> Result<Postgres, StoreError> {
        // Creating a schema needs a right even if the schema exists.
        let there = format!("SELECT 1 FROM pg_namespace WHERE nspname = '{tables}'");
        let made = within(&mut link, (Access::Write, schema::REGISTER, None), |sql| {
            sql.batch(schema::LOCK)?;
            if sql.query(&there, &[])?.is_empty() {
                sql.execute(&format!("CREATE SCHEMA \"{tables}\""), &[])?;
            }
            Ok(())
        });
        made?;
        let mut store =
            Postgres { link, tables, name, access: Access::Write, term: Some(term), unanswered: Unanswered::new() };
        store.migrate()?;
        Ok(store)
    }

    /// See [`version`].
    fn version(&mut self) -> Result<i64, StoreError> {
        within(&mut self.link, (Access::Read, &self.tables, None), |sql| version(sql, &self.tables))
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        let (place, owned) = (self.link.place(), self.owned(Access::Write));
        let scope = (Access::Write, self.tables.as_str(), owned.as_deref());
        within(&mut self.link, scope, |sql| {
            sql.batch(schema::LOCK)?;
            let found = version(sql, &self.tables)?;
            if found > schema::KNOWN {
                return Err(StoreError::Newer { path: place.to_string(), found, known: schema::KNOWN });
            }
            let missing = schema::MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(usize::MAX));
            for step in missing {
                sql.batch(step)?;
            }
            match found {
                0 => {
                    sql.execute(schema::CREATE_VERSION, &[])?;
                    sql.execute("INSERT INTO version (schema) VALUES (?1)", &[&schema::KNOWN])?;
                }
                schema::KNOWN => {}
                _ => drop(sql.execute("UPDATE version SET schema = ?1", &[&schema::KNOWN])?),
            }
            Ok(())
        })
    }

    /// The condition of every transaction of an owner: nobody has taken over. The lock on the row makes a take-over wait
    /// for the end of the transaction, and the next transaction fail.
    fn owned(&self, access: Access) -> Option<String> {
        let name = self.name.replace('\'', "''");
        let lock = if access == Access::Write { "FOR SHARE" } else { "" };
        self.term.map(|term| format!("SELECT term FROM nextrun.logdirs WHERE name = '{name}' AND term = {term} {lock}"))
    }

    /// One attempt of a commit.
    fn attempt<T>(
        &mut self,
        commit: &CommitId,
        work: &mut impl FnMut(&mut dyn Sql) -> Result<T, StoreError>,
    ) -> Attempt<T> {
        let failed = |trouble: Trouble| match trouble.leaves {
            Leaves::Conflict => Attempt::Conflict(trouble.error),
            Leaves::Nothing | Leaves::Doubt => Attempt::Failed(trouble.error),
        };
        let owned = self.owned(Access::Write);
        let mut within = match Within::begin(&mut self.link, (Access::Write, &self.tables, owned.as_deref())) {
            Ok(within) => within,
            Err(trouble) => return failed(trouble),
        };
        // A commit of this id that is still under way, though its connection was lost, is waited for here.
        match within.execute("INSERT INTO commits (id) VALUES (?1) ON CONFLICT DO NOTHING", &[&commit.0]) {
            Ok(0) => return Attempt::Known,
            Ok(_) => {}
            Err(error) => return failed(Trouble { error, leaves: within.leaves }),
        }
        let result = match work(&mut within) {
            Ok(result) => result,
            Err(error) => return failed(Trouble { error, leaves: within.leaves }),
        };
        fault::point();
        match within.commit() {
            Ok(()) => Attempt::Done(result),
            Err(Trouble { error, leaves: Leaves::Doubt }) => Attempt::Unanswered(result, error),
            Err(trouble) => failed(trouble),
        }
    }
}

/// The schema version of the tables in a schema; 0 if there are none.
fn version(sql: &mut dyn Sql, tables: &str) -> Result<i64, StoreError> {
    let there = "SELECT 1 FROM pg_tables WHERE schemaname = ?1 AND tablename = 'version'";
    if sql.query(there, &[&tables])?.is_empty() {
        return Ok(0);
    }
    sql.first("SELECT schema FROM version", &[])?.map_or(Ok(0), |row| row.get(0))
}

/// How an attempt ended.
enum Attempt<T> {
    Done(T),
    /// This commit was carried out before.
    Known,
    /// It may have been carried out.
    Unanswered(T, StoreError),
    /// It was not carried out, and may be at once.
    Conflict(StoreError),
    /// It was not carried out.
    Failed(StoreError),
}

/// A transaction: whether it changes anything, its schema, and the query that must return a row.
type Scope<'s> = (Access, &'s str, Option<&'s str>);

/// Runs `work` in a transaction whose repetition does no harm.
fn within<T>(
    link: &mut Link,
    scope: Scope<'_>,
    work: impl FnOnce(&mut Within<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut within = Within::begin(link, scope).map_err(|trouble| trouble.error)?;
    let result = work(&mut within)?;
    within.commit().map_err(|trouble| trouble.error)?;
    Ok(result)
}

/// A transaction in progress; ends without changes unless it is committed.
struct Within<'l> {
    link: &'l mut Link,
    /// What the last error left behind.
    leaves: Leaves,
    ended: bool,
}

impl<'l> Within<'l> {
    fn begin(link: &'l mut Link, (access, tables, condition): Scope<'_>) -> Result<Within<'l>, Trouble> {
        if link.begin(access, tables, condition)? {
            return Ok(Within { link, leaves: Leaves::Nothing, ended: false });
        }
        link.roll_back();
        let error = StoreError::Superseded { place: link.place().to_string() };
        Err(Trouble { error, leaves: Leaves::Nothing })
    }

    fn commit(mut self) -> Result<(), Trouble> {
        let answer = self.link.commit();
        self.ended = answer.is_ok();
        answer
    }

    /// Runs statements without parameters.
    fn batch(&mut self, text: &str) -> Result<(), StoreError> {
        let answer = self.link.batch(text);
        self.told(answer)
    }

    fn told<T>(&mut self, answer: Result<T, Trouble>) -> Result<T, StoreError> {
        answer.map_err(|trouble| {
            self.leaves = trouble.leaves;
            trouble.error
        })
    }
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.link.roll_back();
        }
    }
}

impl Sql for Within<'_> {
    fn execute(&mut self, sql: &str, values: &[&dyn ToSql]) -> Result<usize, StoreError> {
        let answer = self.link.execute(sql, values);
        self.told(answer)
    }

    fn query(&mut self, sql: &str, values: &[&dyn ToSql]) -> Result<Vec<Row>, StoreError> {
        let answer = self.link.query(sql, values);
        self.told(answer)
    }
}

impl Database for Postgres {
    /// Who leases passes over rows about which another process decides at this moment.
    const DIALECT: Dialect = Dialect {
        by_next: "",
        to_lease: "FOR UPDATE OF d SKIP LOCKED",
        number_on: Some("SELECT setval(pg_get_serial_sequence('{table}', '{key}'), max({key})) FROM {table}"),
    };

    fn place(&self) -> Arc<str> {
        self.link.place()
    }

    fn read<T>(&mut self, mut work: impl FnMut(&mut dyn Sql) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let owned = self.owned(Access::Read);
        within(&mut self.link, (Access::Read, &self.tables, owned.as_deref()), |sql| work(sql))
    }

    fn write<T>(
        &mut self,
        commit: &CommitId,
        mut work: impl FnMut(&mut dyn Sql) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        if self.access == Access::Read {
            return Err(StoreError::ReadOnly { path: self.link.place().to_string() });
        }
        let (mut result, mut last) = (None, None);
        for _ in 0..TRIES {
            match self.attempt(commit, &mut work) {
                Attempt::Done(done) => {
                    fault::point();
                    return Ok(Some(done));
                }
                Attempt::Known => return Ok(result),
                Attempt::Unanswered(done, error) => (result, last) = (Some(done), Some(error)),
                Attempt::Conflict(error) => last = Some(error),
                Attempt::Failed(error) => return Err(error),
            }
        }
        Err(last.unwrap_or(StoreError::Gone))
    }

    fn unanswered(&mut self) -> &mut Unanswered {
        &mut self.unanswered
    }

    fn term(&self) -> i64 {
        self.term.unwrap_or(0)
    }

    fn shrink(&mut self) -> Result<(), StoreError> {
        let owned = self.owned(Access::Write);
        within(&mut self.link, (Access::Write, &self.tables, owned.as_deref()), |sql| {
            sql.execute(schema::FORGET_COMMITS, &[]).map(drop)
        })
    }
}
