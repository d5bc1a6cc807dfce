//! The store over any database: each operation is one transaction.
//!
//! Owns: the operations. Must not know: which database it is, the meaning of a state, when to retry.

use super::rows::{self, CASE, DELIVERY};
use super::sql::{Database, Sql};
use super::{
    Answer, Ask, Commit, CommitId, Delivery, JournalEntry, KnownDirectory, OfCase, Owed, Quieted, Replied, Request,
    Store, StoreError, StoredCase, Tally, Tried, Unreadable, UnreadableCase, Which, asks, directories, fates, forget,
    history, waiting,
};
use crate::case::{CaseId, Message, Reply};
use crate::fate::JobFate;

/// Deliveries that can be leased: due or unknown, without an earlier open delivery of the same case and destination.
///
/// The first condition on the state repeats the condition of the index word for word; otherwise, SQLite does not use a
/// partial index.
pub(super) const ELIGIBLE: &str = "d.destination = ?1 AND d.state IN ('pending', 'sending', 'unknown')
    AND d.state <> 'sending' AND NOT EXISTS (
    SELECT 1 FROM deliveries e
    WHERE e.destination = d.destination AND e.case_id = d.case_id AND e.id < d.id
      AND e.state IN ('pending', 'sending', 'unknown'))";

fn insert_case(sql: &mut dyn Sql, case: &StoredCase) -> Result<(), StoreError> {
    sql.execute(
        "INSERT INTO cases (id, baseline, closed, verdict, updated, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET baseline = excluded.baseline, closed = excluded.closed,
             verdict = excluded.verdict, updated = excluded.updated, state = excluded.state",
        &[&case.id.0, &case.baseline, &case.closed, &case.verdict, &case.updated, &case.state.to_string()],
    )?;
    Ok(())
}

fn insert_entry(sql: &mut dyn Sql, case: &CaseId, entry: &JournalEntry, term: i64) -> Result<(), StoreError> {
    sql.execute(
        "INSERT INTO journal (case_id, time, kind, detail, term) VALUES (?1, ?2, ?3, ?4, ?5)",
        &[&case.0, &entry.time, &entry.kind, &entry.detail.to_string(), &term],
    )?;
    Ok(())
}

fn insert_message(sql: &mut dyn Sql, message: &Message, destinations: &[String]) -> Result<(), StoreError> {
    sql.execute(
        "INSERT INTO messages (id, case_id, kind, subject, time, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO NOTHING",
        &[
            &message.id,
            &message.case.0,
            &rows::name(message.kind()),
            &message.subject,
            &message.time,
            &message.body.data().to_string(),
        ],
    )?;
    for destination in destinations {
        // Due immediately, regardless of later clock changes: a time here would delay it if the clock is set back.
        sql.execute(
            "INSERT INTO deliveries (message_id, case_id, destination, state, attempts, due, changed)
             VALUES (?1, ?2, ?3, 'pending', 0, 0, ?4) ON CONFLICT (message_id, destination) DO NOTHING",
            &[&message.id, &message.case.0, destination, &message.time],
        )?;
    }
    Ok(())
}

fn write_all(sql: &mut dyn Sql, commit: &Commit, term: i64) -> Result<(), StoreError> {
    for case in &commit.cases {
        insert_case(sql, case)?;
    }
    for (case, entry) in &commit.journal {
        insert_entry(sql, case, entry, term)?;
    }
    for (message, destinations) in &commit.messages {
        insert_message(sql, message, destinations)?;
    }
    for (case, wish) in &commit.requests {
        let case = case.as_ref().map(|case| &case.0);
        sql.execute("INSERT INTO requests (case_id, wish) VALUES (?1, ?2)", &[&case, &rows::wish(wish)])?;
    }
    for request in &commit.handled {
        sql.execute("DELETE FROM requests WHERE id = ?1", &[request])?;
    }
    asks::write(sql, &commit.asks)?;
    for (case, asks) in &commit.standing {
        asks::stands(sql, case, asks.as_ref())?;
    }
    for (delivery, decision) in &commit.decisions {
        history::decide(sql, *delivery, decision)?;
    }
    for wait in &commit.waiting {
        insert_message(sql, &wait.message, &[])?;
    }
    waiting::write(sql, commit)?;
    fates::write(sql, &commit.fates)?;
    directories::rename(sql, &commit.renamed)?;
    commit.directories.as_ref().map_or(Ok(()), |watched| directories::write(sql, watched))?;
    commit.forget.as_ref().map_or(Ok(()), |forget| forget::forget(sql, forget))
}

fn mark_sending(sql: &mut dyn Sql, delivery: &Delivery, now: f64) -> Result<(), StoreError> {
    sql.execute(
        "UPDATE deliveries SET state = 'sending', attempts = ?2, changed = ?3 WHERE id = ?1",
        &[&delivery.id, &delivery.attempts, &now],
    )?;
    history::begin(sql, delivery, now)
}

/// A message that cannot be decoded can never be sent; it must not delay the messages after it.
fn give_up(sql: &mut dyn Sql, id: i64, why: &rows::Unreadable, now: f64) -> Result<(), StoreError> {
    let answer = rows::stored(&Answer::Said(format!("the stored {} cannot be read: {}", why.what, why.reason)));
    sql.execute(
        "UPDATE deliveries SET state = 'dead', answer = ?2, changed = ?3 WHERE id = ?1",
        &[&id, &answer, &now],
    )?;
    Ok(())
}

/// Leases due deliveries; see [`Store::lease`].
fn take<D: Database>(sql: &mut dyn Sql, destination: &str, now: f64, limit: u32) -> Result<Vec<Delivery>, StoreError> {
    let (by_next, to_lease) = (D::DIALECT.by_next, D::DIALECT.to_lease);
    let select = |which: &str| {
        // The outer join keeps SQLite from beginning with the messages.
        format!(
            "SELECT {DELIVERY} FROM deliveries d {by_next} LEFT JOIN messages m ON m.id = d.message_id
             WHERE {ELIGIBLE} AND (d.due <= ?2 OR d.changed > ?2) AND {which} LIMIT ?3 {to_lease}"
        )
    };
    // A message that is refused again and again must not keep those of other cases waiting.
    let mut rows = Vec::new();
    for which in ["d.attempts = 0 ORDER BY d.id", "d.attempts > 0 ORDER BY d.due, d.id"] {
        let left = i64::from(limit) - i64::try_from(rows.len()).unwrap_or(i64::MAX);
        rows.extend(sql.query(&select(which), &[&destination, &now, &left])?);
    }
    let mut leased = Vec::with_capacity(rows.len());
    for row in rows {
        match rows::delivery(&row)? {
            Ok(mut delivery) => {
                delivery.attempts = delivery.attempts.saturating_add(1);
                mark_sending(sql, &delivery, now)?;
                leased.push(delivery);
            }
            Err(unreadable) => give_up(sql, row.get(0)?, &unreadable, now)?,
        }
    }
    Ok(leased)
}

/// A case by its id or a unique prefix.
fn by_prefix(sql: &mut dyn Sql, id: &str) -> Result<Option<Result<StoredCase, UnreadableCase>>, StoreError> {
    let text = format!("SELECT {CASE} FROM cases WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id LIMIT 2");
    let mut found = sql.query(&text, &[&id])?.iter().map(rows::case).collect::<Result<Vec<_>, _>>()?;
    // The exact id sorts before all longer ids.
    let is_exact = |row: &Result<StoredCase, UnreadableCase>| {
        row.as_ref().map_or_else(|unreadable| &unreadable.id, |case| &case.id).0 == id
    };
    if found.len() != 1 && !found.first().is_some_and(is_exact) {
        return Ok(None);
    }
    Ok(Some(found.swap_remove(0)))
}

fn corrupt(database: &impl Database, unreadable: rows::Unreadable) -> StoreError {
    let rows::Unreadable { what, reason } = unreadable;
    StoreError::Corrupt { path: database.place().to_string(), what: what.to_owned(), reason }
}

impl<D: Database> Store for D {
    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        let term = self.term();
        self.write(&commit.id, |sql| write_all(sql, commit, term))?;
        if commit.forget.is_some() { self.shrink() } else { Ok(()) }
    }

    fn cases(&mut self, open_only: bool) -> Result<Vec<Result<StoredCase, UnreadableCase>>, StoreError> {
        let only = if open_only { "WHERE closed = 0" } else { "" };
        let text = format!("SELECT {CASE} FROM cases {only} ORDER BY updated DESC, id");
        self.read(|sql| sql.query(&text, &[])?.iter().map(rows::case).collect())
    }

    fn case(&mut self, id: &str) -> Result<Option<StoredCase>, StoreError> {
        if id.is_empty() {
            return Ok(None);
        }
        let found = self.read(|sql| by_prefix(sql, id))?;
        let unreadable = |row: UnreadableCase| corrupt(self, rows::Unreadable { what: "case", reason: row.reason });
        found.transpose().map_err(unreadable)
    }

    fn journal(&mut self, case: &CaseId) -> Result<Vec<JournalEntry>, StoreError> {
        let text = "SELECT time, kind, detail FROM journal WHERE case_id = ?1 ORDER BY id";
        let read = self.read(|sql| sql.query(text, &[&case.0])?.iter().map(rows::entry).collect::<Result<Vec<_>, _>>());
        read?.into_iter().map(|row| row.map_err(|unreadable| corrupt(self, unreadable))).collect()
    }

    fn requests(&mut self) -> Result<Vec<Result<Request, Unreadable>>, StoreError> {
        self.read(|sql| {
            let found = sql.query("SELECT id, case_id, wish FROM requests ORDER BY id", &[])?;
            let read = |row| {
                let id = super::sql::Row::get(row, 0)?;
                Ok(rows::request(row)?.map_err(|why| why.of_row(id)))
            };
            found.iter().map(read).collect()
        })
    }

    fn asks(&mut self, case: Option<&CaseId>, open_only: bool) -> Result<Vec<Result<Ask, Unreadable>>, StoreError> {
        self.read(|sql| asks::list(sql, case, open_only))
    }

    fn ask(&mut self, id: &str) -> Result<Option<Ask>, StoreError> {
        let found = self.read(|sql| asks::one(sql, id))?;
        found.transpose().map_err(|unreadable| corrupt(self, unreadable))
    }

    fn reply(&mut self, ask: &str, fingerprint: Option<&str>, reply: &Reply) -> Result<Replied, StoreError> {
        let replied = self.write(&CommitId::default(), |sql| asks::reply(sql, ask, fingerprint, reply))?;
        // A new id is never known.
        let replied = replied.unwrap_or(Ok(Replied::Unknown));
        replied.map_err(|unreadable| corrupt(self, unreadable))
    }

    fn directories(&mut self) -> Result<Vec<KnownDirectory>, StoreError> {
        self.read(|sql| sql.query(directories::ALL, &[])?.iter().map(directories::row).collect())
    }

    fn fates(&mut self) -> Result<Vec<Result<JobFate, Unreadable>>, StoreError> {
        self.read(|sql| sql.query(fates::ALL, &[])?.iter().map(fates::row).collect())
    }

    fn suggested(&mut self, id: &str) -> Result<Option<OfCase>, StoreError> {
        self.read(|sql| fates::suggested(sql, id))
    }

    fn newest_case_of(&mut self, job: &str) -> Result<Option<OfCase>, StoreError> {
        self.read(|sql| fates::newest_case_of(sql, job))
    }

    fn lease(&mut self, destination: &str, now: f64, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        let (commit, mut leased) = self.unanswered().remove(destination).unwrap_or_default();
        let taken = self.write(&commit, |sql| {
            leased = take::<D>(sql, destination, now, limit)?;
            Ok(())
        });
        match taken {
            // If it was already carried out, these are what it leased.
            Ok(_) => Ok(leased),
            Err(error) => {
                self.unanswered().insert(destination.to_owned(), (commit, leased));
                Err(error)
            }
        }
    }

    fn tried(&mut self, tried: &Tried, now: f64) -> Result<(), StoreError> {
        self.write(&CommitId::default(), |sql| {
            sql.execute(
                "UPDATE deliveries SET state = ?2, due = ?3, answer = ?4, changed = ?5
                 WHERE id = ?1 AND state <> 'delivered'",
                &[&tried.delivery, &rows::name(tried.state), &tried.due, &rows::stored(&tried.answer), &now],
            )?;
            history::end(sql, tried, now)
        })?;
        Ok(())
    }

    fn accepted(&mut self, delivery: i64, reference: &str) -> Result<(), StoreError> {
        self.write(&CommitId::default(), |sql| {
            sql.execute("UPDATE deliveries SET reference = ?2 WHERE id = ?1", &[&delivery, &reference])
        })?;
        Ok(())
    }

    fn reference(&mut self, delivery: i64) -> Result<Option<String>, StoreError> {
        self.read(|sql| {
            let found = sql.first("SELECT reference FROM deliveries WHERE id = ?1", &[&delivery])?;
            Ok(found.map(|row| row.get(0)).transpose()?.flatten())
        })
    }

    fn history(&mut self, which: Which<'_>) -> Result<Vec<Result<Owed, Unreadable>>, StoreError> {
        self.read(|sql| history::list(sql, which))
    }

    fn tally(&mut self) -> Result<Tally, StoreError> {
        self.read(history::tally)
    }

    fn quieted(&mut self) -> Result<Quieted, StoreError> {
        self.read(|sql| {
            let mut quieted = Quieted::default();
            for row in sql.query(waiting::SILENCES, &[])? {
                quieted.silences.push(waiting::silence(&row)?);
            }
            for row in sql.query(waiting::OPEN, &[])? {
                match waiting::row(&row)? {
                    Ok(waiting) => quieted.waiting.push(waiting),
                    Err(unreadable) => quieted.unreadable.push(unreadable),
                }
            }
            Ok(quieted)
        })
    }

    fn recover(&mut self, now: f64) -> Result<u32, StoreError> {
        let answer = rows::stored(&Answer::from("nextrun ended while sending this"));
        let changed = self.write(&CommitId::default(), |sql| {
            sql.execute(
                "UPDATE attempts SET ended = ?2, outcome = 'unknown', answer = ?1 WHERE ended IS NULL",
                &[&answer, &now],
            )?;
            sql.execute(
                "UPDATE deliveries SET state = 'unknown', due = 0, answer = ?1, changed = ?2 WHERE state = 'sending'",
                &[&answer, &now],
            )
        })?;
        Ok(u32::try_from(changed.unwrap_or(0)).unwrap_or(u32::MAX))
    }

    fn next_due(&mut self, destination: &str) -> Result<Option<f64>, StoreError> {
        let text = format!("SELECT min(d.due) FROM deliveries d {} WHERE {ELIGIBLE}", D::DIALECT.by_next);
        self.read(|sql| Ok(sql.first(&text, &[&destination])?.map(|row| row.get(0)).transpose()?.flatten()))
    }
}
