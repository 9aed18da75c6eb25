// SPDX-License-Identifier: GPL-2.0-only
//! Showing how far long work is, to people only: on a terminal, and gone when it is done.

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
        if !std::io::stderr().is_terminal() {
            return Self { bar: None };
        }
        let target = ProgressDrawTarget::stderr();
        let bar = ProgressBar::with_draw_target(total, target).with_message(what);
        let template = match total {
            Some(_) => "{msg} {wide_bar} {pos}/{len}, {eta} left",
            None => "{spinner} {msg}: {human_pos} files, {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self { bar: Some(bar) }
    }

    /// One more is done.
    pub fn step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
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
