// SPDX-License-Identifier: GPL-2.0-only
//! Tasks of a test that do something at the same time.

use std::thread::ScopedJoinHandle;

use anyhow::{bail, Error, Result};

/// Waits for the end of a task: what it came to.
///
/// # Errors
/// Its own, or that it panicked.
pub fn join<T, E: Into<Error>>(task: ScopedJoinHandle<'_, Result<T, E>>) -> Result<T> {
    match task.join() {
        Ok(result) => result.map_err(Into::into),
        Err(_) => bail!("a task of the test panicked"),
    }
}
