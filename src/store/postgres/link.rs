//! A connection, and the statements on it.
//!
//! Owns: connecting, the runtime, time limits, the settings of a transaction. Must not know: what is stored.
//!
//! Nothing outlives a transaction: no session settings, no prepared statements, no session locks. A pooler that gives each
//! transaction another connection of the server (pgbouncer in transaction mode) is therefore no different.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rusqlite::types::{ToSqlOutput, Value};
use tokio::runtime::Runtime;
use tokio_postgres::types::{IsNull, ToSql as ToPostgres, Type, to_sql_checked};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::address::Server;
use super::problem::{Leaves, Trouble, silence, trouble};
use crate::store::StoreError;
use crate::store::sql::{Row, ToSql};

/// How long a statement may take. The daemon's statements take milliseconds.
const STATEMENT: Duration = Duration::from_secs(10);

/// How long to wait for a connection or an answer: longer than the server itself waits, and short enough for the watchdog.
const ANSWER: Duration = Duration::from_secs(12);

/// How long a statement waits for a lock.
const LOCK: Duration = Duration::from_secs(5);

/// How long the server keeps the transaction of a process that says nothing, for example because it was stopped. Its locks
/// must not delay another daemon that takes over.
const IDLE: Duration = Duration::from_secs(5);

/// Whether a transaction changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// A connection, made when it is needed.
#[derive(Debug)]
pub(super) struct Link {
    server: Server,
    place: Arc<str>,
    session: Option<Session>,
}

/// A connection and the runtime that moves its bytes while someone waits for an answer.
#[derive(Debug)]
struct Session {
    client: Client,
    runtime: Option<Runtime>,
}

impl Drop for Session {
    /// The connection ends at once, and from any thread.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Link {
    pub(super) fn new(server: Server) -> Link {
        let place = server.to_string().into();
        Link { server, place, session: None }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    pub(super) fn place(&self) -> Arc<str> {
        self.place.clone()
    }

    fn connect(&self) -> Result<Session, Trouble> {
        let refused = |error| Trouble { error, leaves: Leaves::Nothing };
        let (config, tls) = (self.server.login().map_err(refused)?, self.server.tls().map_err(refused)?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|source| {
            refused(StoreError::Files { action: "prepare a connection to", path: self.place.to_string(), source })
        })?;
        let connected = runtime.block_on(async { tokio::time::timeout(ANSWER, config.connect(tls)).await });
        match connected {
            Err(_) => Err(silence(&self.place, ANSWER.as_secs())),
            Ok(Err(error)) => Err(trouble(&self.place, &error)),
            Ok(Ok((client, connection))) => {
                // What ends the connection is told to whoever waits for an answer.
                runtime.spawn(async move { drop(connection.await) });
                Ok(Session { client, runtime: Some(runtime) })
            }
        }
    }

    /// Begins a transaction that sees the tables of `schema` and fails unless `condition`, a query, returns a row. If the
    /// connection was lost meanwhile, which shows only now, it is made anew: nothing has been done on it.
    pub(super) fn begin(&mut self, access: Access, schema: &str, condition: Option<&str>) -> Result<bool, Trouble> {
        let millis = |time: Duration| time.as_millis();
        let idle = IDLE.min(self.server.lease / 3);
        // A replica refuses the words `READ WRITE` for another reason than a write.
        let mode = if access == Access::Read { "READ ONLY" } else { "" };
        let text = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED {mode}; SET LOCAL search_path = \"{schema}\"; \
             SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; \
             SET LOCAL idle_in_transaction_session_timeout = {}; {}",
            millis(STATEMENT),
            millis(LOCK),
            millis(idle),
            condition.unwrap_or("SELECT 1")
        );
        let kept = self.session.is_some();
        match self.say(&text) {
            Err(Trouble { leaves: Leaves::Doubt, .. }) if kept => self.say(&text),
            begun => begun,
        }
    }

    /// Runs statements without parameters; whether one of them returned a row.
    fn say(&mut self, text: &str) -> Result<bool, Trouble> {
        if self.session.is_none() {
            self.session = Some(self.connect()?);
        }
        let messages = self.ask(async |client| client.simple_query(text).await)?;
        Ok(messages.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_))))
    }

    /// Runs statements without parameters in a transaction.
    pub(super) fn batch(&mut self, text: &str) -> Result<(), Trouble> {
        self.ask(async |client| client.batch_execute(text).await)
    }

    pub(super) fn commit(&mut self) -> Result<(), Trouble> {
        self.batch("COMMIT")
    }

    /// Ends the transaction without changes. If this fails, the connection ends, and the transaction with it.
    pub(super) fn roll_back(&mut self) {
        if self.session.is_some() && self.batch("ROLLBACK").is_err() {
            self.session = None;
        }
    }

    /// Runs a statement; the number of changed rows.
    pub(super) fn execute(&mut self, sql: &str, values: &[&dyn ToSql]) -> Result<usize, Trouble> {
        let (sql, given) = self.prepare(sql, values)?;
        let given = typed(&given);
        let changed = self.ask(async |client| client.execute_typed(&sql, &given).await)?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    /// All rows of a query.
    pub(super) fn query(&mut self, sql: &str, values: &[&dyn ToSql]) -> Result<Vec<Row>, Trouble> {
        let (sql, given) = self.prepare(sql, values)?;
        let given = typed(&given);
        let rows = self.ask(async |client| client.query_typed(&sql, &given).await)?;
        let read = |row: &tokio_postgres::Row| {
            let values = (0..row.len()).map(|column| value(row, column)).collect::<Result<_, _>>();
            values.map(|values| Row::new(&self.place, values)).map_err(|error| trouble(&self.place, &error))
        };
        rows.iter().map(read).collect()
    }

    /// A statement with PostgreSQL's placeholders, and its values.
    fn prepare(&self, sql: &str, values: &[&dyn ToSql]) -> Result<(String, Vec<Given>), Trouble> {
        let given = |value: &&dyn ToSql| match value.to_sql() {
            Ok(ToSqlOutput::Owned(value)) => Ok(Given(value)),
            Ok(ToSqlOutput::Borrowed(value)) => Ok(Given(value.into())),
            Ok(_) => Err("a value of no known kind".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let given: Result<Vec<Given>, String> = values.iter().map(given).collect();
        let wrong = |reason| {
            let (path, what) = (self.place.to_string(), "value to be stored".to_owned());
            Trouble { error: StoreError::Corrupt { path, what, reason }, leaves: Leaves::Nothing }
        };
        // No text in our statements contains a question mark.
        Ok((sql.replace('?', "$"), given.map_err(wrong)?))
    }

    /// Waits for an answer. After an error that leaves doubt, the connection is gone.
    fn ask<T>(
        &mut self,
        question: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Trouble> {
        let answer = match &self.session {
            Some(Session { client, runtime: Some(runtime) }) => {
                runtime.block_on(async { tokio::time::timeout(ANSWER, question(client)).await })
            }
            // A transaction whose connection was lost goes no further.
            Some(Session { runtime: None, .. }) | None => return Err(silence(&self.place, 0)),
        };
        let error = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => trouble(&self.place, &error),
            Err(_) => silence(&self.place, ANSWER.as_secs()),
        };
        if error.leaves == Leaves::Doubt {
            self.session = None;
        }
        Err(error)
    }
}

/// A value to store.
#[derive(Debug)]
struct Given(Value);

impl Given {
    fn kind(&self) -> Type {
        match &self.0 {
            Value::Integer(_) => Type::INT8,
            Value::Real(_) => Type::FLOAT8,
            Value::Text(_) => Type::TEXT,
            Value::Blob(_) => Type::BYTEA,
            // The server takes the type of the column.
            Value::Null => Type::UNKNOWN,
        }
    }
}

impl ToPostgres for Given {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match &self.0 {
            Value::Integer(number) => ToPostgres::to_sql(number, &Type::INT8, out),
            Value::Real(number) => ToPostgres::to_sql(number, &Type::FLOAT8, out),
            // PostgreSQL's texts cannot contain this character.
            Value::Text(text) if text.contains('\0') => {
                ToPostgres::to_sql(&text.replace('\0', "\u{fffd}"), &Type::TEXT, out)
            }
            Value::Text(text) => ToPostgres::to_sql(text, &Type::TEXT, out),
            Value::Blob(bytes) => ToPostgres::to_sql(bytes, &Type::BYTEA, out),
            Value::Null => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn typed(given: &[Given]) -> Vec<(&(dyn ToPostgres + Sync), Type)> {
    given.iter().map(|given| (given as &(dyn ToPostgres + Sync), given.kind())).collect()
}

/// A value of a row.
fn value(row: &tokio_postgres::Row, column: usize) -> Result<Value, tokio_postgres::Error> {
    let value = match *row.columns()[column].type_() {
        Type::INT8 => row.try_get::<_, Option<i64>>(column)?.map(Value::Integer),
        Type::INT4 => row.try_get::<_, Option<i32>>(column)?.map(|number| Value::Integer(number.into())),
        Type::FLOAT8 => row.try_get::<_, Option<f64>>(column)?.map(Value::Real),
        _ => row.try_get::<_, Option<String>>(column)?.map(Value::Text),
    };
    Ok(value.unwrap_or(Value::Null))
}
