//! Statement execution (facts §7), as far as smoke queries go: `SELECT` of the `current_*()` functions and of constants,
//! and `SELECT 1 FROM a.b.c LIMIT 0`. A statement on a stopped warehouse starts it and is PENDING; failed SQL is HTTP 200.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Caller, Level, catalog, denied, invalid, malformed, missing, no_such_api};
use crate::clock::{later, until};
use crate::wire::{Answer, Call, Reply, text};
use crate::world::World;

pub(crate) struct Statement {
    sql: String,
    who: String,
    ready: Timestamp,
    canceled: bool,
}

pub(super) fn answer(world: &mut World, index: usize, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("POST", []) => submit(world, index, caller, call),
        ("GET", [id]) => {
            own(world, index, caller, id)?;
            Ok(Reply::json(200, &shown(world, index, id, world.now)))
        }
        ("DELETE", [id]) => {
            own(world, index, caller, id)?;
            world.account.workspaces[index].statements.remove(*id);
            Ok(Reply::json(200, &json!({})))
        }
        ("POST", [id, "cancel"]) => {
            own(world, index, caller, id)?;
            if let Some(statement) = world.account.workspaces[index].statements.get_mut(*id) {
                statement.canceled |= statement.ready > world.now;
            }
            Ok(Reply::json(200, &json!({})))
        }
        _ => Err(no_such_api(call)),
    }
}

fn submit(world: &mut World, index: usize, caller: &Caller, call: &Call) -> Answer {
    let body = call.object().ok_or_else(malformed)?;
    let sql = text(&body, "statement").filter(|sql| !sql.is_empty()).ok_or_else(|| invalid("statement is required"))?;
    let warehouse_id = text(&body, "warehouse_id").ok_or_else(|| invalid("warehouse_id is required"))?;
    let wait = wait(text(&body, "wait_timeout").unwrap_or("10s"))?;
    let cancels = match text(&body, "on_wait_timeout").unwrap_or("CONTINUE") {
        "CONTINUE" => false,
        "CANCEL" => true,
        other => return Err(invalid(&format!("on_wait_timeout {other} is unknown"))),
    };
    may_run(world, index, caller, warehouse_id)?;
    if let Some(session) = text(&body, "session_id")
        && world.account.workspaces[index].sessions.get(session) != Some(&caller.name)
    {
        return Err(missing(&format!("The session {session} was not found.")));
    }
    let (now, settings) = (world.now, world.settings.clone());
    let warehouse = world.account.workspaces[index].warehouses.get_mut(warehouse_id);
    let ready = warehouse.map_or(now, |warehouse| warehouse.start(now, &settings)).max(now);
    let in_time = until(now, ready) <= wait && !wait.is_zero();
    let statement =
        Statement { sql: sql.to_owned(), who: caller.name.clone(), ready, canceled: cancels && !in_time && !wait.is_zero() };
    let id = world.rng.uuid().to_string();
    world.account.workspaces[index].statements.insert(id.clone(), statement);
    let answered = if in_time { ready } else { later(now, wait) };
    // With `0s` the answer always comes before the result.
    let seen_at = if wait.is_zero() { Timestamp::MIN } else { answered };
    Ok(Reply::json(200, &shown(world, index, &id, seen_at)).after(until(now, answered)))
}

pub(super) fn may_run(world: &World, index: usize, caller: &Caller, warehouse_id: &str) -> Result<(), Reply> {
    let warehouse = world.account.workspaces[index].warehouses.get(warehouse_id);
    let warehouse = warehouse.ok_or_else(|| missing(&format!("Warehouse {warehouse_id} does not exist.")))?;
    if warehouse.deleted {
        return Err(missing(&format!("Warehouse {warehouse_id} does not exist.")));
    }
    let entitled = caller.admin || world.account.find(&caller.name).is_some_and(catalog::entitled);
    if !entitled {
        return Err(denied("This API is disabled for users without the databricks-sql-access entitlement."));
    }
    if !caller.admin && warehouse.level(&caller.name) < Some(Level::CanUse) {
        return Err(denied(&format!("{} does not have CAN_USE permission on warehouse {warehouse_id}.", caller.name)));
    }
    Ok(())
}

fn own(world: &World, index: usize, caller: &Caller, id: &str) -> Result<(), Reply> {
    let found = world.account.workspaces[index].statements.get(id).filter(|statement| statement.who == caller.name);
    found.map(|_| ()).ok_or_else(|| missing(&format!("The statement {id} was not found.")))
}

/// `0s`, or 5 to 50 seconds.
fn wait(text: &str) -> Result<Duration, Reply> {
    let seconds: Option<u64> = text.strip_suffix('s').and_then(|digits| digits.parse().ok());
    let legal = seconds.filter(|&seconds| seconds == 0 || (5..=50).contains(&seconds));
    legal.map(Duration::from_secs).ok_or_else(|| invalid("wait_timeout must be 0s or between 5s and 50s"))
}

fn shown(world: &World, index: usize, id: &str, at: Timestamp) -> Value {
    let statement = &world.account.workspaces[index].statements[id];
    if statement.canceled {
        return json!({ "statement_id": id, "status": { "state": "CANCELED" } });
    }
    if statement.ready > at {
        return json!({ "statement_id": id, "status": { "state": "PENDING" } });
    }
    match run(world, statement) {
        Ok(row) => {
            let columns: Vec<Value> = (0..row.len())
                .map(|position| json!({ "name": format!("c{position}"), "position": position, "type_name": "STRING", "type_text": "STRING" }))
                .collect();
            let rows = usize::from(!row.is_empty());
            json!({
                "statement_id": id,
                "status": { "state": "SUCCEEDED" },
                "manifest": {
                    "format": "JSON_ARRAY",
                    "schema": { "column_count": columns.len(), "columns": columns },
                    "total_row_count": rows, "total_chunk_count": rows, "truncated": false,
                },
                "result": if row.is_empty() { json!({}) } else { json!({ "chunk_index": 0, "row_count": 1, "data_array": [row] }) },
            })
        }
        Err((code, message)) => {
            json!({ "statement_id": id, "status": { "state": "FAILED", "error": { "error_code": code, "message": message } } })
        }
    }
}

/// The one row of a query, empty for a query of a table.
fn run(world: &World, statement: &Statement) -> Result<Vec<String>, (&'static str, String)> {
    let syntax = || ("BAD_REQUEST", format!("[PARSE_SYNTAX_ERROR] Syntax error in '{}'. SQLSTATE: 42601", statement.sql));
    let sql = statement.sql.trim().trim_end_matches(';').trim();
    let rest = strip_word(sql, "select").ok_or_else(syntax)?;
    let Some((_, rest)) = split_word(rest, "from") else {
        let columns = rest.split(',').map(|column| value(column.trim(), &statement.who));
        return columns.collect::<Option<_>>().ok_or_else(syntax);
    };
    let table = split_word(rest, "limit").map_or(rest, |(table, _)| table);
    let table: [String; 3] = names(table.trim()).and_then(|names| names.try_into().ok()).ok_or_else(syntax)?;
    if !world.account.grants.contains_key(&("table".to_owned(), table.join("."))) {
        return Err((
            "NOT_FOUND",
            format!("[TABLE_OR_VIEW_NOT_FOUND] The table or view `{}` cannot be found.", table.join("`.`")),
        ));
    }
    if !catalog::may_select(world, &statement.who, &table) {
        return Err(("BAD_REQUEST", "[INSUFFICIENT_PERMISSIONS] Insufficient privileges. SQLSTATE: 42501".to_owned()));
    }
    Ok(Vec::new())
}

fn value(column: &str, who: &str) -> Option<String> {
    let expression = split_word(column, "as").map_or(column, |(expression, _)| expression.trim());
    match expression.to_lowercase().as_str() {
        "current_user()" | "session_user()" => Some(who.to_owned()),
        "current_catalog()" => Some("main".to_owned()),
        "current_schema()" => Some("default".to_owned()),
        number => number.parse::<i64>().ok().map(|number| number.to_string()),
    }
}

fn strip_word<'a>(sql: &'a str, word: &str) -> Option<&'a str> {
    let head = sql.get(..word.len())?;
    let rest = &sql[word.len()..];
    (head.eq_ignore_ascii_case(word) && rest.starts_with(char::is_whitespace)).then(|| rest.trim_start())
}

/// What stands before and after the first such word outside backticks.
fn split_word<'a>(sql: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let mut quoted = false;
    for (at, char) in sql.char_indices() {
        quoted ^= char == '`';
        if let Some(rest) =
            sql.get(at..).filter(|_| !quoted && char.is_whitespace()).and_then(|rest| strip_word(rest.trim_start(), word))
        {
            return Some((&sql[..at], rest));
        }
    }
    None
}

/// The parts of a dotted name, backticks taken off and double ones made single.
fn names(dotted: &str) -> Option<Vec<String>> {
    let mut names = vec![String::new()];
    let mut quoted = false;
    let mut chars = dotted.chars().peekable();
    while let Some(char) = chars.next() {
        let last = names.last_mut()?;
        match char {
            '`' if quoted && chars.peek() == Some(&'`') => last.push(chars.next()?),
            '`' => quoted = !quoted,
            '.' if !quoted => names.push(String::new()),
            _ if quoted || char.is_alphanumeric() || char == '_' => last.push(char),
            _ => return None,
        }
    }
    (!quoted && names.iter().all(|name| !name.is_empty())).then_some(names)
}
