// SPDX-License-Identifier: GPL-2.0-only
//! How far a pull is.

use std::sync::Mutex;

use composefs_oci::pull::Watch;
use composefs_tools::lock::lock;
use composefs_tools::progress::Progress;

/// Shows it.
#[derive(Default)]
pub struct Pulling(Mutex<Option<Progress>>);

impl Pulling {
    fn show(&self, progress: impl FnOnce() -> Progress) {
        let mut shown = lock(&self.0);
        // The one before goes first: there is one line.
        *shown = None;
        *shown = Some(progress());
    }
}

impl Watch for Pulling {
    fn begin(&self, bytes: u64, layers: usize, known: usize) {
        let what = match known {
            0 => format!("{layers} layers"),
            known => format!("{layers} layers, {known} are here"),
        };
        self.show(|| Progress::of_bytes(what, bytes));
    }

    fn advance(&self, bytes: u64) {
        if let Some(progress) = &*lock(&self.0) {
            progress.advance(bytes);
        }
    }

    fn compose(&self) {
        self.show(|| Progress::of_time("making the image"));
    }
}
