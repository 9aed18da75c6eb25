// SPDX-License-Identifier: GPL-2.0-only
//! The table of Documentation/suites.md: what all suites said, others' and our own. What was run in
//! this checkout takes the place of what stood there; the rest stays.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{others, place};

const FILE: &str = "Documentation/suites.md";
const HEAD: &str = "| suite | part | kernel | passed / failed / skipped | the control |\n\
                    | --- | --- | --- | ---: | ---: |\n";

/// In the order in which they stand in the table.
const SUITES: &[&str] = &["tests", "kselftest", "unionmount", "xfstests", "stress"];

/// A suite, by its place in [`SUITES`], and the name of a part.
type Key = (usize, String);

#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    kernel: String,
    counts: String,
    control: String,
}

/// Writes the table anew.
pub fn write() -> Result<i32> {
    let path = place::checkout(FILE);
    let text = fs::read_to_string(&path).context(FILE)?;
    let start = text.find(HEAD).context("the table has another head")?;
    let (before, rest) = text.split_at(start);
    let end = rest.find("\n\n").map_or(rest.len(), |at| at + 1);
    let (table, after) = rest.split_at(end);
    let mut rows = parse(table);
    for (suite, name) in SUITES.iter().enumerate() {
        add(&mut rows, suite, &others::kept(name)?);
    }
    fs::write(&path, format!("{before}{}{after}", print(&rows))).context(FILE)?;
    Ok(0)
}

fn parse(table: &str) -> BTreeMap<Key, Row> {
    let row = |line: &str| {
        let line = line.strip_prefix("| ")?.strip_suffix(" |")?;
        let [suite, part, kernel, counts, control] = line.split(" | ").collect::<Vec<_>>()[..]
        else {
            return None;
        };
        let suite = SUITES.iter().position(|name| *name == suite)?;
        let row = Row {
            kernel: kernel.to_owned(),
            counts: counts.to_owned(),
            control: control.trim().to_owned(),
        };
        Some(((suite, part.to_owned()), row))
    };
    table.lines().filter_map(row).collect()
}

/// Puts counts into the table: those of EROFS, as the control, beside those of what it is the
/// control of.
fn add(rows: &mut BTreeMap<Key, Row>, suite: usize, kept: &BTreeMap<String, Value>) {
    let own = kept.iter().filter(|(part, _)| !is_control(part));
    for (part, value) in own {
        let row = rows.entry((suite, part.clone())).or_default();
        row.kernel = value["kernel"].as_str().unwrap_or_default().to_owned();
        row.counts = counts(value);
    }
    for (part, value) in kept.iter().filter(|(part, _)| is_control(part)) {
        let kind = part.trim_end_matches("erofs");
        for ((_, other), row) in rows.iter_mut().filter(|((of, _), _)| *of == suite) {
            if matches!(other.strip_prefix(kind), Some("composefs" | "inline")) {
                row.control = counts(value);
            }
        }
    }
}

fn is_control(part: &str) -> bool {
    part.ends_with("/erofs")
}

fn counts(value: &Value) -> String {
    let number = |what: &str| value[what].as_u64().unwrap_or_default();
    let (passed, failed, skipped) = (number("passed"), number("failed"), number("skipped"));
    format!("{passed} / {failed} / {skipped}")
}

fn print(rows: &BTreeMap<Key, Row>) -> String {
    let mut table = HEAD.to_owned();
    for ((suite, part), row) in rows {
        let Row {
            kernel,
            counts,
            control,
        } = row;
        let suite = SUITES.get(*suite).unwrap_or(&"");
        table += &format!("| {suite} | {part} | {kernel} | {counts} | {control} |\n");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_run_takes_the_place_of_what_stood_there() {
        let table = format!(
            "{HEAD}| tests | driver | 7.2 | 1 / 2 / 3 |  |\n\
             | unionmount | plain/composefs | 7.2 | 4 / 0 / 0 | 4 / 0 / 0 |\n\
             | unionmount | xino/inline | 7.2 | 5 / 0 / 0 |  |\n"
        );
        let mut rows = parse(&table);
        assert_eq!(print(&rows), table);
        let value =
            |passed: u64| json!({"passed": passed, "failed": 0, "skipped": 1, "kernel": "7.3"});
        let kept = [
            ("plain/composefs", 6),
            ("plain/erofs", 7),
            ("xino/erofs", 8),
        ];
        let kept = kept.map(|(part, passed)| (part.to_owned(), value(passed)));
        add(&mut rows, 2, &kept.into());
        let expected = format!(
            "{HEAD}| tests | driver | 7.2 | 1 / 2 / 3 |  |\n\
             | unionmount | plain/composefs | 7.3 | 6 / 0 / 1 | 7 / 0 / 1 |\n\
             | unionmount | xino/inline | 7.2 | 5 / 0 / 0 | 8 / 0 / 1 |\n"
        );
        assert_eq!(print(&rows), expected);
    }
}
