// SPDX-License-Identifier: GPL-2.0-only
//! Commands that are killed, at any moment.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::{odd_layers, By, Layer};

/// Layers with enough in them to be killed within.
pub fn layers() -> Vec<(Vec<u8>, By)> {
    let mut layers = odd_layers();
    for layer in 0..3_u8 {
        let mut made = Layer::new().dir("usr");
        for file in 0..200_u32 {
            let content: Vec<u8> = (0..2000)
                .map(|at| (at * 7 + file * 31) as u8 ^ layer)
                .collect();
            made = made.file(&format!("usr/{layer}-{file}"), &content);
        }
        layers.push((made.bytes(), By::Gzip));
    }
    layers
}

/// Moments that look random, and are the same in every run.
pub struct Moments(pub u32);

impl Moments {
    /// One within what takes so long, or a little after.
    pub fn next(&mut self, time: Duration) -> Duration {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        time.mul_f64(f64::from(self.0 >> 8) / f64::from(1 << 24) * 1.2)
    }
}

/// How long a command takes at most, when it was killed or was not: what else the machine is busy
/// with changes while a test runs.
pub fn learned(time: Duration, is_killed: bool) -> Duration {
    time.mul_f64(if is_killed { 1.05 } else { 0.75 })
}

/// Starts a command, and kills it at a moment. Whether it was not at its end.
pub fn kill(repository: &Path, arguments: &[&str], moment: Duration) -> bool {
    let mut child = Command::new(env!("CARGO_BIN_EXE_composefs"))
        .arg("--repo")
        .arg(repository)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("composefs runs");
    thread::sleep(moment);
    let is_killed = child.try_wait().expect("child").is_none();
    // It may have come to its end.
    let _ = child.kill();
    child.wait().expect("child");
    is_killed
}
