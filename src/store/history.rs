//! Delivery attempts, lists with attempts, and decisions of people.
//!
//! Owns: SQL for `attempts`, and for lists of `deliveries`. Must not know: when to retry.

use rusqlite::{Connection, Row, ToSql, params};

use super::rows::{self, DELIVERY};
use super::waiting;
use super::{Answer, Attempt, Decision, Delivery, DeliveryState, Owed, Tally, Tried, Unreadable, Which};

/// Records the start of an attempt.
pub(super) fn begin(transaction: &Connection, delivery: &Delivery, now: f64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO attempts (delivery_id, number, begun) VALUES (?1, ?2, ?3)")?
        .execute(params![delivery.id, delivery.attempts, now])?;
    Ok(())
}

/// Records the result of the current attempt.
pub(super) fn end(transaction: &Connection, tried: &Tried, now: f64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE attempts SET ended = ?2, outcome = ?3, answer = ?4 WHERE delivery_id = ?1 AND ended IS NULL",
        )?
        .execute(params![tried.delivery, now, rows::name(tried.state), rows::stored(&tried.answer)])?;
    Ok(())
}

/// Carries out a person's decision, if the state of the delivery permits it.
pub(super) fn decide(transaction: &Connection, delivery: i64, decision: &Decision) -> rusqlite::Result<()> {
    match decision {
        Decision::Resend => transaction.execute(
            "UPDATE deliveries SET state = 'pending', due = 0
             WHERE id = ?1 AND state IN ('pending', 'unknown', 'held', 'dead')",
            [delivery],
        )?,
        Decision::Drop { why, at } => transaction.execute(
            "UPDATE deliveries SET state = 'dead', due = 0, answer = ?2, changed = ?3
             WHERE id = ?1 AND state IN ('pending', 'unknown', 'held')",
            params![delivery, rows::stored(&Answer::Said(why.clone())), at],
        )?,
    };
    Ok(())
}

/// A message sent in a digest has no delivery of its own.
const OF_MESSAGE: &str = "d.message_id IN (SELECT ? UNION SELECT sent_as FROM waiting WHERE message_id = ?)";

/// Deliveries with their attempts, newest first.
pub(super) fn list(connection: &Connection, which: Which<'_>) -> rusqlite::Result<Vec<Result<Owed, Unreadable>>> {
    let (case, state) = (which.case.map(|case| &case.0), which.state.map(DeliveryState::as_str));
    let asked: [(&str, Option<&dyn ToSql>); 4] = [
        ("d.id = ?", which.delivery.as_ref().map(|value| value as _)),
        (OF_MESSAGE, which.message.as_ref().map(|value| value as _)),
        ("d.case_id = ?", case.as_ref().map(|value| value as _)),
        ("d.state = ?", state.as_ref().map(|value| value as _)),
    ];
    // The query contains only the requested conditions, so that the index on the column is used.
    let (mut conditions, mut values) = (String::new(), Vec::new());
    for (condition, value) in asked.into_iter().filter_map(|(condition, value)| Some((condition, value?))) {
        values.push(value);
        conditions.push_str(&format!(" AND {}", condition.replace('?', &format!("?{}", values.len()))));
    }
    let sql = format!(
        "SELECT {DELIVERY}, d.changed FROM deliveries d LEFT JOIN messages m ON m.id = d.message_id
         WHERE 1{conditions} ORDER BY d.id DESC"
    );
    let mut query = connection.prepare_cached(&sql)?;
    let mut found = query.query(values.as_slice())?;
    let mut listed = Vec::new();
    while let Some(row) = found.next()? {
        listed.push(owed(connection, row)?);
    }
    Ok(listed)
}

fn owed(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<Result<Owed, Unreadable>> {
    let id = row.get(0)?;
    let unreadable = |what: &str, reason: String| Ok(Err(Unreadable { id, what: what.to_owned(), reason }));
    // A column of the wrong type is also damage and affects only this row.
    let delivery = match rows::delivery(row) {
        Ok(Ok(delivery)) => delivery,
        Ok(Err(error)) => return unreadable(error.what, error.reason),
        Err(error) => return unreadable("delivery", error.to_string()),
    };
    match tries(connection, id) {
        Ok(tries) => Ok(Ok(Owed { delivery, changed: row.get("changed")?, tries })),
        Err(error) => unreadable("try", error.to_string()),
    }
}

fn tries(connection: &Connection, delivery: i64) -> rusqlite::Result<Vec<Attempt>> {
    let read = |row: &Row<'_>| {
        let outcome: Option<String> = row.get(3)?;
        Ok(Attempt {
            number: row.get(0)?,
            begun: row.get(1)?,
            ended: row.get(2)?,
            outcome: outcome.and_then(rows::state),
            answer: row.get::<_, Option<String>>(4)?.map(rows::answer),
        })
    };
    connection
        .prepare_cached(
            "SELECT number, begun, ended, outcome, answer FROM attempts WHERE delivery_id = ?1 ORDER BY id",
        )?
        .query_map([delivery], read)?
        .collect()
}

/// The number of deliveries. Unknown states are omitted.
pub(super) fn tally(connection: &Connection) -> rusqlite::Result<Tally> {
    let mut tally = Tally::default();
    let mut query = connection.prepare_cached("SELECT destination, state, count(*) FROM deliveries GROUP BY 1, 2")?;
    let mut found = query.query([])?;
    while let Some(row) = found.next()? {
        let (destination, state, count): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if let Some(state) = rows::state(state) {
            tally.counts.push((destination, state, count.unsigned_abs()));
        }
    }
    tally.waiting = waiting::tally(connection)?;
    let sql = "SELECT min(m.time) FROM deliveries d CROSS JOIN messages m ON m.id = d.message_id
               WHERE d.state IN ('pending', 'sending', 'unknown')";
    tally.oldest = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(tally)
}
