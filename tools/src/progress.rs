// SPDX-License-Identifier: GPL-2.0-only
//! Showing how far long work is, to people only: on a terminal, and gone when it is done.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

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

    fn with(what: impl Into<Cow<'static, str>>, total: Option<u64>, template: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { bar: None };
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        Self::start(bar, what, template)
    }

    fn start(bar: ProgressBar, what: impl Into<Cow<'static, str>>, template: &str) -> Self {
        bar.set_message(what);
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

/// Lines on the terminal for what is done at the same time, and one below them for all of it. If
/// there are more than the terminal has, the last are not seen.
#[derive(Debug)]
pub struct Lines {
    bars: Option<MultiProgress>,
}

impl Default for Lines {
    fn default() -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let bars = || MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Self {
            bars: is_terminal.then(bars),
        }
    }
}

impl Lines {
    /// The line for all: of so many bytes.
    pub fn sum(&self, what: String, total: u64) -> Progress {
        let template = "{msg} {wide_bar} {bytes}/{total_bytes}, {eta} left";
        self.start(Some(total), 0, what, template)
    }

    /// The line for all: of what cannot be counted.
    pub fn of_time(&self, what: &'static str) -> Progress {
        self.start(None, 0, what, "{spinner} {msg}, {elapsed}")
    }

    /// A line above that, of so many bytes.
    pub fn part(&self, what: String, total: u64) -> Progress {
        let template = "{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}";
        self.start(Some(total), 1, what, template)
    }

    fn start(
        &self,
        total: Option<u64>,
        from_below: usize,
        what: impl Into<Cow<'static, str>>,
        template: &str,
    ) -> Progress {
        let Some(bars) = &self.bars else {
            return Progress { bar: None };
        };
        // It is not to be drawn before it has its place.
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        Progress::start(bars.insert_from_back(from_below, bar), what, template)
    }
}
