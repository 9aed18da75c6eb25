// SPDX-License-Identifier: GPL-2.0-only
//! A process for one connection. Whatever hangs, hangs here; and it ends with the rights of its
//! caller, so that it serves no other.

use std::io::{stdin, stdout};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use anyhow::Result;
use rustix::process::{set_dumpable_behavior, DumpableBehavior};

use crate::account;
use crate::caller::{end_with_service, Caller};
use crate::config::Config;
use crate::control::Control;
use crate::conversation::{runtime, Conversation, Next};
use crate::descriptors::Descriptors;
use crate::grant::grant;
use crate::interface::{Error, Mounted};
use crate::request::Request;

/// As many calls as one connection may have before it is granted something, or not.
const CALLS: usize = 16;

/// Serves the caller who is on stdin; the service is on stdout.
///
/// # Errors
/// If it cannot even be tried.
pub fn run(config: &Config) -> Result<()> {
    end_with_service()?;
    prepare();
    let stream = UnixStream::from(stdin().as_fd().try_clone_to_owned()?);
    let control = Control(stdout().as_fd().try_clone_to_owned()?);
    runtime()?.block_on(serve(config, stream, &control))
}

/// Answers the caller who is on stdin that there is too much.
///
/// # Errors
/// If that cannot be.
pub fn refuse() -> Result<()> {
    end_with_service()?;
    prepare();
    let stream = UnixStream::from(stdin().as_fd().try_clone_to_owned()?);
    runtime()?.block_on(async {
        let mut conversation = Conversation::new(stream)?;
        let reason = "too many calls at the same time".into();
        conversation.refuse(&Error::LimitReached { reason }).await?;
        // Who is still talking would otherwise hear only that nobody listens.
        conversation.next().await;
        Ok(())
    })
}

/// Whatever the caller does to this process is to hurt nobody else.
fn prepare() {
    // Without them it is only less safe for the caller.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
}

async fn serve(config: &Config, stream: UnixStream, control: &Control) -> Result<()> {
    let mut conversation = Conversation::new(stream)?;
    let credentials = conversation.credentials().await?;
    let caller = Caller::of(&credentials);
    let who = format!(
        "user {} (process {})",
        caller.uid.as_raw(),
        credentials.process_id().as_raw_nonzero()
    );
    // Also what is read from here on.
    let accounted = account::join(&credentials);

    for _ in 0..CALLS {
        let (request, descriptors) = match conversation.next().await {
            Next::Call(Request::Mount(request), fds) => (request, Descriptors::new(fds)),
            Next::Call(Request::About(answer), _) => {
                conversation.answer(answer, Vec::new()).await?;
                continue;
            }
            Next::Strange(error) => {
                conversation.refuse(&error).await?;
                continue;
            }
            Next::Broken(error) => {
                control.decide(&format!("{who}: not understood: {error}"));
                return conversation.refuse(&error).await;
            }
            Next::End => return Ok(()),
        };
        let granted = match &accounted {
            Ok(()) => grant(config, &caller, &request, &descriptors, control),
            Err(error) => Err(Error::Failed {
                reason: format!("{error:#}"),
            }),
        };
        return match granted {
            Ok(granted) => {
                control.decide(&format!("{who}: granted: {}", granted.what));
                let mounted = Mounted {
                    mount_file_descriptor: 0,
                };
                let answer = serde_json::to_value(mounted)?;
                conversation.answer(answer, vec![granted.mount]).await
            }
            Err(error) => {
                control.decide(&format!("{who}: refused: {error}"));
                conversation.refuse(&error).await
            }
        };
    }
    control.decide(&format!("{who}: asked too much"));
    let reason = "too many calls on one connection".into();
    conversation.refuse(&Error::LimitReached { reason }).await
}
