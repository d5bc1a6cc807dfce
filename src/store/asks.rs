//! Questions to people and their answers: the first answer counts.
//!
//! Owns: SQL for `asks`. Must not know: who may answer, the consequences of an answer.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sql::{Row, Sql};
use super::{StoreError, Unreadable, Wish, rows};
use crate::case::{CaseId, Person, Reply};

/// The migration that creates the table. Open questions get rows so that they can be answered; an answer that the
/// daemon has not processed yet is converted to the current format.
pub(super) const TABLE: &str = "
    CREATE TABLE asks (
        id TEXT PRIMARY KEY,
        case_id TEXT NOT NULL,
        job TEXT NOT NULL,
        kind TEXT NOT NULL,
        shown TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        answers TEXT NOT NULL,
        asked REAL NOT NULL,
        expires REAL NOT NULL,
        answer TEXT,
        provider TEXT,
        user TEXT,
        name TEXT,
        decided REAL,
        why TEXT,
        withdrawn INTEGER NOT NULL DEFAULT 0 CHECK (withdrawn IN (0, 1))
    ) STRICT;
    CREATE INDEX asks_by_case ON asks (case_id, asked);
    CREATE INDEX asks_open ON asks (asked) WHERE answer IS NULL AND withdrawn = 0;
    INSERT INTO asks (id, case_id, job, kind, shown, fingerprint, answers, asked, expires)
        SELECT m.id, m.case_id, c.baseline, 'question', m.data, '',
            coalesce(json_extract(m.data, '$.answers'), '[]'), m.time,
            json_extract(c.state, '$.waiting.answer.until')
        FROM (SELECT id, baseline, CASE WHEN json_valid(state) THEN state ELSE '{}' END AS state
              FROM cases WHERE closed = 0) c
        JOIN (SELECT id, case_id, time, CASE WHEN json_valid(data) THEN data ELSE '{}' END AS data
              FROM messages WHERE kind = 'question_asked') m
            ON m.id = c.id || '-asked-' || json_extract(c.state, '$.waiting.answer.question.at.state') || '-'
                || json_extract(c.state, '$.waiting.answer.question.at.attempt')
        WHERE json_type(c.state, '$.waiting.answer.until') IN ('real', 'integer');
    UPDATE requests SET wish = json_object('reply', json_object(
            'ask', coalesce((SELECT id FROM asks a WHERE a.case_id = requests.case_id ORDER BY asked DESC LIMIT 1), ''),
            'reply', json_object('answer', json_extract(wish, '$.answer'),
                'by', json_object('provider', 'local', 'user', ''), 'at', 0.0, 'why', '')))
        WHERE CASE WHEN json_valid(wish) THEN json_type(wish, '$.answer') = 'text' ELSE 0 END;
    ";

const ASK: &str = "id, case_id, job, kind, shown, fingerprint, answers, asked, expires, answer, provider, \"user\", name, \
                   decided, why, withdrawn";

/// The kind of question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskKind {
    /// Approval of an experiment.
    Approval,
    /// A question that only a person can answer.
    Question,
}

/// A current or past question to a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ask {
    /// The id of the message with the question.
    pub id: String,
    /// The case.
    pub case: CaseId,
    /// Its baseline job.
    pub job: String,
    /// The kind of question.
    pub kind: AskKind,
    /// Exactly what was shown: the data of the message.
    pub shown: Value,
    /// Fingerprint of what was shown.
    pub fingerprint: String,
    /// The possible answers.
    pub answers: Vec<String>,
    /// When it was asked, in seconds since the Unix epoch.
    pub asked: f64,
    /// The deadline, in seconds since the Unix epoch.
    pub expires: f64,
    /// Its state.
    pub state: AskState,
}

/// The state of a question.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AskState {
    /// Open.
    Open,
    /// Answered.
    Answered(Reply),
    /// Withdrawn: the case continued without an answer.
    Withdrawn,
}

/// The result of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Replied {
    /// It is the first and has been stored; the daemon will process it.
    Kept(Ask),
    /// Nothing changed; this is the current state.
    Refused(Ask),
    /// There is no question with this id.
    Unknown,
}

/// Stores questions; existing ids stay unchanged.
pub(super) fn write(sql: &mut dyn Sql, asks: &[Ask]) -> Result<(), StoreError> {
    for ask in asks {
        sql.execute(
            "INSERT INTO asks (id, case_id, job, kind, shown, fingerprint, answers, asked, expires)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING",
            &[
                &ask.id,
                &ask.case.0,
                &ask.job,
                &rows::name(ask.kind),
                &ask.shown.to_string(),
                &ask.fingerprint,
                &serde_json::json!(ask.answers).to_string(),
                &ask.asked,
                &ask.expires,
            ],
        )?;
    }
    Ok(())
}

/// The current question of a case, if any; withdraws all other questions of the case.
pub(super) fn stands(sql: &mut dyn Sql, case: &CaseId, now: Option<&(String, f64)>) -> Result<(), StoreError> {
    let id = now.map_or("", |(id, _)| id.as_str());
    sql.execute(
        "UPDATE asks SET withdrawn = 1 WHERE case_id = ?1 AND id <> ?2 AND answer IS NULL AND withdrawn = 0",
        &[&case.0, &id],
    )?;
    if let Some((id, expires)) = now {
        sql.execute("UPDATE asks SET expires = ?2 WHERE id = ?1 AND answer IS NULL AND withdrawn = 0", &[id, expires])?;
    }
    Ok(())
}

/// Stores an answer if it is the first, on time, one of the possible answers, and about what is currently shown. Stores
/// the request to the daemon in the same transaction.
pub(super) fn reply(sql: &mut dyn Sql, id: &str, fingerprint: Option<&str>, reply: &Reply) -> rows::Read<Replied> {
    let ask = match one(sql, id)? {
        None => return Ok(Ok(Replied::Unknown)),
        Some(Err(unreadable)) => return Ok(Err(unreadable)),
        Some(Ok(ask)) => ask,
    };
    let same = fingerprint.is_none_or(|shown| shown == ask.fingerprint);
    let in_time = reply.at < ask.expires;
    if ask.state != AskState::Open || !same || !in_time || !ask.answers.contains(&reply.answer) {
        return Ok(Ok(Replied::Refused(ask)));
    }
    let Reply { answer, by, at, why } = reply;
    // The state is compared again: another process may have answered since it was read.
    let first = sql.execute(
        "UPDATE asks SET answer = ?2, provider = ?3, \"user\" = ?4, name = ?5, decided = ?6, why = ?7
         WHERE id = ?1 AND answer IS NULL AND withdrawn = 0",
        &[&id, answer, &by.provider, &by.user, &by.name, at, why],
    )?;
    if first == 0 {
        let ask = one(sql, id)?;
        return Ok(ask.map_or(Ok(Replied::Unknown), |ask| ask.map(Replied::Refused)));
    }
    let wish = rows::wish(&Wish::Reply { ask: id.to_owned(), reply: reply.clone() });
    sql.execute("INSERT INTO requests (case_id, wish) VALUES (?1, ?2)", &[&ask.case.0, &wish])?;
    Ok(Ok(Replied::Kept(Ask { state: AskState::Answered(reply.clone()), ..ask })))
}

/// The question with the given id.
pub(super) fn one(sql: &mut dyn Sql, id: &str) -> Result<Option<Result<Ask, rows::Unreadable>>, StoreError> {
    let found = sql.first(&format!("SELECT {ASK} FROM asks WHERE id = ?1"), &[&id])?;
    found.map(|found| row(&found)).transpose()
}

/// Questions, oldest first: of one case or all; only open ones, or all.
pub(super) fn list(
    sql: &mut dyn Sql,
    case: Option<&CaseId>,
    open_only: bool,
) -> Result<Vec<Result<Ask, Unreadable>>, StoreError> {
    let open = if open_only { "answer IS NULL AND withdrawn = 0" } else { "TRUE" };
    let of_case = if case.is_some() { "case_id = ?1" } else { "?1 = ''" };
    let text = format!("SELECT {ASK}, rowid FROM asks WHERE {of_case} AND {open} ORDER BY asked, rowid");
    let rows = sql.query(&text, &[&case.map_or("", |case| &case.0)])?;
    let read = |found: &Row| {
        let id = found.get(16)?;
        Ok(row(found)?.map_err(|unreadable| unreadable.of_row(id)))
    };
    rows.iter().map(read).collect()
}

/// Deletes questions of cases that no longer exist.
pub(super) fn forget(sql: &mut dyn Sql, before: f64) -> Result<(), StoreError> {
    sql.execute(
        "DELETE FROM asks WHERE asked < ?1 AND NOT EXISTS (SELECT 1 FROM cases WHERE id = asks.case_id)",
        &[&before],
    )?;
    Ok(())
}

fn row(row: &Row) -> rows::Read<Ask> {
    let (kind, shown, answers): (String, String, String) = (row.get(3)?, row.get(4)?, row.get(6)?);
    let (kind, shown) = match (rows::named("ask", kind), rows::json("ask", &shown)) {
        (Ok(kind), Ok(shown)) => (kind, shown),
        (Err(unreadable), _) | (_, Err(unreadable)) => return Ok(Err(unreadable)),
    };
    let answers = match serde_json::from_str(&answers) {
        Ok(answers) => answers,
        Err(error) => return Ok(Err(rows::Unreadable { what: "ask", reason: error.to_string() })),
    };
    let state = match (row.get::<Option<String>>(9)?, row.get::<bool>(15)?) {
        (Some(answer), _) => AskState::Answered(Reply {
            answer,
            by: Person {
                provider: row.get::<Option<String>>(10)?.unwrap_or_default(),
                user: row.get::<Option<String>>(11)?.unwrap_or_default(),
                name: row.get(12)?,
            },
            at: row.get::<Option<f64>>(13)?.unwrap_or_default(),
            why: row.get::<Option<String>>(14)?.unwrap_or_default(),
        }),
        (None, true) => AskState::Withdrawn,
        (None, false) => AskState::Open,
    };
    Ok(Ok(Ask {
        id: row.get(0)?,
        case: CaseId(row.get(1)?),
        job: row.get(2)?,
        kind,
        shown,
        fingerprint: row.get(5)?,
        answers,
        asked: row.get(7)?,
        expires: row.get(8)?,
        state,
    }))
}
