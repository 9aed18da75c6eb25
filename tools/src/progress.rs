// SPDX-License-Identifier: GPL-2.0-only
//! Showing how far long work is, to people only: on a terminal, and gone when it is done.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Redrawn this often, whether or not there is news.
const TICK: Duration = Duration::from_millis(200);

/// A line on the terminal, if standard error is one.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Shows `what` is being done. `total` is how much there is to do, if that is known.
    pub fn new(what: &'static str, total: Option<u64>) -> Self {
        Self::with(
            what,
            total,
            match total {
                Some(_) => "{msg} {wide_bar} {pos}/{len}, {eta} left",
                None => "{spinner} {msg}: {human_pos} files, {elapsed}",
            },
        )
    }

    /// The same, of so many bytes.
    pub fn of_bytes(what: String, total: u64) -> Self {
        Self::with(
            what,
            Some(total),
            "{msg} {wide_bar} {bytes}/{total_bytes}, {eta} left",
        )
    }

    /// The same, of what cannot be counted.
    pub fn of_time(what: &'static str) -> Self {
        Self::with(what, None, "{spinner} {msg}, {elapsed}")
    }

    fn with(what: impl Into<Cow<'static, str>>, total: Option<u64>, template: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { bar: None };
        }
        let target = ProgressDrawTarget::stderr();
        let bar = ProgressBar::with_draw_target(total, target).with_message(what);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self { bar: Some(bar) }
    }

    /// One more is done.
    pub fn step(&self) {
        self.advance(1);
    }

    /// So many more are done.
    pub fn advance(&self, count: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(count);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
