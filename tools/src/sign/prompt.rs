// SPDX-License-Identifier: GPL-2.0-only
//! Asking for a passphrase on the terminal, which does not show it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};

use rustix::termios::{tcgetattr, tcsetattr, LocalModes, OptionalActions, Termios};
use zeroize::Zeroizing;

/// Longest passphrase, in bytes: a terminal passes on no longer line.
const LINE_MAX: usize = 4096;

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
pub fn ask(question: &str) -> io::Result<Zeroizing<String>> {
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
