// SPDX-License-Identifier: GPL-2.0-only
//! Passphrases: from the environment, or asked for on the terminal, which does not show them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};

use anyhow::{anyhow, Result};
use rustix::termios::{tcgetattr, tcsetattr, LocalModes, OptionalActions, Termios};
use zeroize::Zeroizing;

/// The environment variable that holds the passphrase of an encrypted key.
const PASSPHRASE_VARIABLE: &str = "COMPOSEFS_KEY_PASSPHRASE";

/// Longest passphrase, in bytes: a terminal passes on no longer line.
const LINE_MAX: usize = 4096;

/// The passphrase of a key: from the environment, or the answer to `question` on the terminal.
///
/// # Errors
/// If there is neither.
pub fn passphrase(question: &str) -> Result<Zeroizing<String>> {
    match std::env::var(PASSPHRASE_VARIABLE) {
        Ok(passphrase) => return Ok(Zeroizing::new(passphrase)),
        Err(std::env::VarError::NotPresent) => {}
        Err(std::env::VarError::NotUnicode(_)) => {
            return Err(anyhow!("{PASSPHRASE_VARIABLE} is not UTF-8"));
        }
    }
    ask(question).map_err(|_| {
        anyhow!("it needs a passphrase: there is no terminal and no {PASSPHRASE_VARIABLE}")
    })
}

/// A terminal that shows no input for the life of this.
struct Silent<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silent<'a> {
    fn new(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut now = before.clone();
        now.local_modes.remove(LocalModes::ECHO);
        now.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(terminal, OptionalActions::Flush, &now)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        // Nothing is left to do if even this fails.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// Asks on the terminal of this process, whatever standard input is; the answer is one line, less
/// its end.
///
/// # Errors
/// If there is no terminal, or no answer.
fn ask(question: &str) -> io::Result<Zeroizing<String>> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let silent = Silent::new(&terminal)?;
    (&terminal).write_all(question.as_bytes())?;
    // All at once, so that no other copy of it is left in memory.
    let mut line = Zeroizing::new(vec![0; LINE_MAX]);
    let length = (&terminal).read(&mut line)?;
    drop(silent);
    let line = line.get(..length).unwrap_or_default();
    let Some(line) = line.strip_suffix(b"\n") else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let text = std::str::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Zeroizing::new(text.to_owned()))
}
