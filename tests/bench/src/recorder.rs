// SPDX-License-Identifier: GPL-2.0-only
//! Prints figures as they are taken.

use crate::system::System;

/// Which system is being measured, and what is appended to the names of operations.
#[derive(Clone, Debug)]
pub struct Recorder {
    pub system: System,
    pub suffix: String,
}

impl Recorder {
    pub fn new(system: System) -> Self {
        Self {
            system,
            suffix: String::new(),
        }
    }

    /// The total of `count` operations.
    pub fn per_operation(&self, operation: &str, total: u64, count: usize) {
        let value = total as f64 / count as f64;
        // A tenth of an instruction is beyond what can be told.
        self.value(operation, (value * 10.0).round() / 10.0, "instructions");
    }

    pub fn bytes(&self, operation: &str, bytes: i64) {
        self.value(operation, bytes as f64, "bytes");
    }

    pub fn value(&self, operation: &str, value: f64, unit: &str) {
        let (suffix, system) = (&self.suffix, self.system.name());
        println!("{operation}{suffix}\t{system}\t{value}\t{unit}");
    }
}
