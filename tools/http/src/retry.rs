// SPDX-License-Identifier: GPL-2.0-only
//! What an answer means, and whether to ask again.

use std::fmt;
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, Error, Result};

use crate::client::{Failure, Response};

/// How often a place is asked.
const ATTEMPTS: u32 = 6;
/// The longest pause, also if a server asks for a longer one.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How long one goes on asking.
#[derive(Clone, Debug)]
pub struct Patience {
    pause: Duration,
}

/// The attempts at one thing.
#[derive(Debug)]
pub struct Attempts {
    pause: Duration,
    left: u32,
}

/// What an answer means.
#[derive(Debug)]
pub enum Verdict {
    /// It is what was asked for.
    Good(Response),
    /// Who asks has to say who that is, in one of these ways.
    Unauthorized(Vec<String>),
    /// No; whether it may be otherwise another time says [`is_passing`].
    Bad(Error),
}

/// That a server does not do what was asked for.
#[derive(Debug)]
pub struct Refused {
    /// What it answers.
    pub status: u32,
    /// After how long it may be asked again, if that is said.
    pub after: Option<Duration>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server says {}", status(self.status))
    }
}

impl std::error::Error for Refused {}

/// Whether it may be otherwise another time.
pub fn is_passing(error: &Error) -> bool {
    match (
        error.downcast_ref::<Refused>(),
        error.downcast_ref::<Failure>(),
    ) {
        (Some(refused), _) => is_busy(refused.status),
        (_, Some(failure)) => !failure.is_final,
        (None, None) => false,
    }
}

fn is_busy(status: u32) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

impl Patience {
    /// `pause` is the first pause; each one is twice as long as the one before.
    pub fn new(pause: Duration) -> Self {
        Self { pause }
    }

    /// To be used up.
    pub fn attempts(&self) -> Attempts {
        Attempts {
            pause: self.pause,
            left: ATTEMPTS,
        }
    }
}

impl Attempts {
    /// Waits until it is time for another one.
    ///
    /// # Errors
    /// `error`, if there have been enough.
    pub fn wait(&mut self, error: Error, after: Option<Duration>) -> Result<()> {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            return Err(error);
        }
        thread::sleep(after.unwrap_or(self.pause).min(PAUSE_MAX));
        self.pause = self.pause.saturating_mul(2);
        Ok(())
    }
}

/// Judges the answer to a request for what is from byte `from` on.
pub fn judge(response: Result<Response>, from: u64) -> Verdict {
    let response = match response {
        Ok(response) => response,
        Err(error) => return Verdict::Bad(error),
    };
    match response.status {
        200..=202 if from == 0 => Verdict::Good(response),
        206 if is_from(&response, from) => Verdict::Good(response),
        // Not all servers can begin in the middle.
        200 => Verdict::Bad(anyhow!("the server cannot go on where it was interrupted")),
        401 => Verdict::Unauthorized(
            response
                .headers("www-authenticate")
                .map(str::to_owned)
                .collect(),
        ),
        status => {
            let mut seconds = response.headers("retry-after");
            let seconds = seconds.find_map(|value| value.parse().ok());
            Verdict::Bad(Error::new(Refused {
                status,
                after: seconds.map(Duration::from_secs),
            }))
        }
    }
}

fn is_from(response: &Response, from: u64) -> bool {
    let want = format!("bytes {from}-");
    response
        .headers("content-range")
        .any(|range| range.starts_with(&want))
}

fn status(status: u32) -> String {
    let words = match status {
        401 => " (unauthorized)",
        403 => " (forbidden)",
        404 => " (not found)",
        429 => " (too many requests)",
        500 => " (internal error)",
        502 => " (bad gateway)",
        503 => " (unavailable)",
        _ => "",
    };
    format!("{status}{words}")
}
