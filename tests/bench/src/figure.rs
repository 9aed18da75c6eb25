// SPDX-License-Identifier: GPL-2.0-only
//! Figures, and the lines that carry them from the guest: `OPERATION SYSTEM VALUE UNIT`, with tabs
//! between.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};

use crate::system::System;

/// One operation's figures.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub values: BTreeMap<System, f64>,
    pub unit: String,
}

impl Row {
    /// Ours as a multiple of `other`'s; `None` if either is not known.
    pub fn ratio(&self, other: System) -> Option<f64> {
        self.ratio_of(System::Composefs, other)
    }

    /// That of one as a multiple of that of another; `None` if either is not known.
    pub fn ratio_of(&self, one: System, other: System) -> Option<f64> {
        let one = self.values.get(&one)?;
        let other = self.values.get(&other).filter(|other| **other != 0.0)?;
        Some(one / other)
    }
}

/// All figures of a run, in the order in which they were taken.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub rows: Vec<(String, Row)>,
}

impl Figures {
    pub fn add(&mut self, operation: &str, system: System, value: f64, unit: &str) {
        let known = self.rows.iter().position(|(name, _)| name == operation);
        let index = known.unwrap_or_else(|| {
            self.rows.push((operation.to_owned(), Row::default()));
            self.rows.len() - 1
        });
        let row = &mut self.rows[index].1;
        row.values.insert(system, value);
        row.unit = unit.to_owned();
    }

    pub fn get(&self, operation: &str) -> Option<&Row> {
        let mut rows = self.rows.iter();
        rows.find(|(name, _)| name == operation).map(|(_, row)| row)
    }

    /// Reads the lines that a guest printed.
    pub fn parse(text: &str) -> Result<Self> {
        let mut figures = Self::default();
        for line in text.lines() {
            let context = || format!("not a figure: {line:?}");
            let mut fields = line.split('\t');
            let mut field = || fields.next().with_context(context);
            let (operation, system, value, unit) = (field()?, field()?, field()?, field()?);
            let system = System::named(system).with_context(context)?;
            figures.add(
                operation,
                system,
                value.parse().with_context(context)?,
                unit,
            );
        }
        Ok(figures)
    }

    /// An object of one member for each operation; a figure that does not exist is null.
    pub fn to_json(&self) -> String {
        let mut json = String::from("{");
        for (number, (operation, row)) in self.rows.iter().enumerate() {
            json.push_str(if number == 0 { "\n" } else { ",\n" });
            let _ = write!(json, "  \"{operation}\": {{");
            for system in System::ALL {
                let value = row.values.get(&system);
                let value = value.map_or_else(|| "null".to_owned(), |value| format!("{value}"));
                let _ = write!(json, "\"{}\": {value}, ", system.name());
            }
            let _ = write!(json, "\"unit\": \"{}\"}}", row.unit);
        }
        json.push_str("\n}\n");
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_to_json() -> Result<()> {
        let text = "open\tcomposefs\t12.5\tinstructions\nopen\text4\t10\tinstructions\n";
        let figures = Figures::parse(text)?;
        assert_eq!(
            figures.to_json(),
            "{\n  \"open\": {\"composefs\": 12.5, \"overlay_erofs\": null, \"erofs\": null, \
             \"ext4\": 10, \"mapped_owners\": null, \"by_service\": null, \"lazily\": null, \
             \"composefs_fuse\": null, \"erofs_data\": null, \"erofs_shared\": null, \"unit\": \"instructions\"}\n}\n"
        );
        let row = figures.get("open").context("open")?;
        assert_eq!(row.ratio(System::Ext4), Some(1.25));
        assert_eq!(row.ratio(System::Erofs), None);
        assert!(Figures::parse("nothing of the kind").is_err());
        Ok(())
    }
}
