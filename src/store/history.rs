//! Delivery attempts, lists with attempts, and decisions of people.
//!
//! Owns: SQL for `attempts`, and for lists of `deliveries`. Must not know: when to retry.

use std::collections::BTreeMap;

use super::rows::{self, DELIVERY};
use super::sql::{Row, Sql, ToSql};
use super::waiting;
use super::{Answer, Attempt, Decision, Delivery, DeliveryState, Owed, StoreError, Tally, Tried, Unreadable, Which};

/// Records the start of an attempt.
pub(super) fn begin(sql: &mut dyn Sql, delivery: &Delivery, now: f64) -> Result<(), StoreError> {
    sql.execute(
        "INSERT INTO attempts (delivery_id, number, begun) VALUES (?1, ?2, ?3)",
        &[&delivery.id, &delivery.attempts, &now],
    )?;
    Ok(())
}

/// Records the result of the current attempt.
pub(super) fn end(sql: &mut dyn Sql, tried: &Tried, now: f64) -> Result<(), StoreError> {
    sql.execute(
        "UPDATE attempts SET ended = ?2, outcome = ?3, answer = ?4 WHERE delivery_id = ?1 AND ended IS NULL",
        &[&tried.delivery, &now, &rows::name(tried.state), &rows::stored(&tried.answer)],
    )?;
    Ok(())
}

/// Carries out a person's decision, if the state of the delivery permits it.
pub(super) fn decide(sql: &mut dyn Sql, delivery: i64, decision: &Decision) -> Result<(), StoreError> {
    match decision {
        Decision::Resend => sql.execute(
            "UPDATE deliveries SET state = 'pending', due = 0
             WHERE id = ?1 AND state IN ('pending', 'unknown', 'held', 'dead')",
            &[&delivery],
        )?,
        Decision::Drop { why, at } => sql.execute(
            "UPDATE deliveries SET state = 'dead', due = 0, answer = ?2, changed = ?3
             WHERE id = ?1 AND state IN ('pending', 'unknown', 'held')",
            &[&delivery, &rows::stored(&Answer::Said(why.clone())), at],
        )?,
    };
    Ok(())
}

/// A message sent in a digest has no delivery of its own.
const OF_MESSAGE: &str = "d.message_id IN (SELECT ? UNION SELECT sent_as FROM waiting WHERE message_id = ?)";

/// Deliveries with their attempts, newest first.
pub(super) fn list(sql: &mut dyn Sql, which: Which<'_>) -> Result<Vec<Result<Owed, Unreadable>>, StoreError> {
    let (case, state) = (which.case.map(|case| &case.0), which.state.map(DeliveryState::as_str));
    let asked: [(&str, Option<&dyn ToSql>); 4] = [
        ("d.id = ?", which.delivery.as_ref().map(|value| value as _)),
        (OF_MESSAGE, which.message.as_ref().map(|value| value as _)),
        ("d.case_id = ?", case.as_ref().map(|value| value as _)),
        ("d.state = ?", state.as_ref().map(|value| value as _)),
    ];
    // The query contains only the requested conditions, so that the index on the column is used.
    let (mut conditions, mut values) = (String::from("TRUE"), Vec::new());
    for (condition, value) in asked.into_iter().filter_map(|(condition, value)| Some((condition, value?))) {
        values.push(value);
        conditions.push_str(&format!(" AND {}", condition.replace('?', &format!("?{}", values.len()))));
    }
    let deliveries = format!(
        "SELECT {DELIVERY}, d.changed FROM deliveries d LEFT JOIN messages m ON m.id = d.message_id
         WHERE {conditions} ORDER BY d.id DESC"
    );
    let attempts = format!(
        "SELECT delivery_id, number, begun, ended, outcome, answer FROM attempts
         WHERE delivery_id IN (SELECT d.id FROM deliveries d WHERE {conditions}) ORDER BY id"
    );
    let mut tries: BTreeMap<i64, Vec<Attempt>> = BTreeMap::new();
    for row in sql.query(&attempts, &values)? {
        tries.entry(row.get(0)?).or_default().push(attempt(&row)?);
    }
    sql.query(&deliveries, &values)?.iter().map(|row| owed(row, &mut tries)).collect()
}

fn owed(row: &Row, tries: &mut BTreeMap<i64, Vec<Attempt>>) -> Result<Result<Owed, Unreadable>, StoreError> {
    let id = row.get(0)?;
    let (changed, tries) = (row.get(12)?, tries.remove(&id).unwrap_or_default());
    // A column of the wrong type is also damage and affects only this row.
    Ok(match rows::delivery(row) {
        Ok(Ok(delivery)) => Ok(Owed { delivery, changed, tries }),
        Ok(Err(error)) => Err(error.of_row(id)),
        Err(error) => Err(Unreadable { id, what: "delivery".to_owned(), reason: error.to_string() }),
    })
}

fn attempt(row: &Row) -> Result<Attempt, StoreError> {
    let outcome: Option<String> = row.get(4)?;
    Ok(Attempt {
        number: row.get(1)?,
        begun: row.get(2)?,
        ended: row.get(3)?,
        outcome: outcome.and_then(rows::state),
        answer: row.get::<Option<String>>(5)?.map(rows::answer),
    })
}

/// The number of deliveries. Unknown states are omitted.
pub(super) fn tally(sql: &mut dyn Sql) -> Result<Tally, StoreError> {
    let mut tally = Tally::default();
    for row in sql.query("SELECT destination, state, count(*) FROM deliveries GROUP BY 1, 2", &[])? {
        let (destination, state, count): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if let Some(state) = rows::state(state) {
            tally.counts.push((destination, state, count.unsigned_abs()));
        }
    }
    tally.waiting = waiting::tally(sql)?;
    let oldest = "SELECT min(m.time) FROM deliveries d LEFT JOIN messages m ON m.id = d.message_id
                  WHERE d.state IN ('pending', 'sending', 'unknown')";
    tally.oldest = sql.first(oldest, &[])?.map(|row| row.get(0)).transpose()?.flatten();
    Ok(tally)
}
