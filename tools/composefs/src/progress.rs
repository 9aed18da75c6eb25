// SPDX-License-Identifier: GPL-2.0-only
//! How far a pull is: on a terminal, and nowhere else.

use std::io::IsTerminal;
use std::time::Duration;

use composefs_oci::pull::Watch;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TICK: Duration = Duration::from_millis(200);

/// A line on the terminal.
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// It appears with the first news.
    pub fn new() -> Self {
        let is_seen = std::io::stderr().is_terminal();
        Self(is_seen.then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())))
    }

    fn show(bar: &ProgressBar, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
    }
}

impl Watch for Progress {
    fn begin(&self, bytes: u64, layers: usize, known: usize) {
        if let Some(bar) = &self.0 {
            bar.set_length(bytes);
            bar.set_message(match known {
                0 => format!("{layers} layers"),
                known => format!("{layers} layers, {known} are here"),
            });
            Self::show(bar, "{msg} {wide_bar} {bytes}/{total_bytes}, {eta} left");
        }
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }

    fn compose(&self) {
        if let Some(bar) = &self.0 {
            bar.set_message("making the image");
            Self::show(bar, "{spinner} {msg}, {elapsed}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
