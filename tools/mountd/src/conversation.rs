// SPDX-License-Identifier: GPL-2.0-only
//! What is said on a connection, and answered.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use zlink::connection::Credentials;
use zlink::{Connection, Reply};

use crate::bounded::Bounded;
use crate::interface::Error;
use crate::request::{Request, Said};

/// How long a caller may take to say something, or to hear it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a conversation, of either side, runs in: this thread alone.
///
/// # Errors
/// If the kernel lacks something.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
}

/// A connection to a caller.
#[derive(Debug)]
pub struct Conversation(Connection<Bounded>);

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// A call, and what was sent along.
    Call(Request, Vec<OwnedFd>),
    /// A call that is not understood; others may follow.
    Strange(Error),
    /// Nothing that can be followed by anything.
    Broken(Error),
    /// The caller is gone.
    End,
}

impl Conversation {
    /// A conversation on an open connection, in a [`runtime`].
    ///
    /// # Errors
    /// If it is no connection.
    pub fn new(stream: UnixStream) -> Result<Self> {
        Ok(Self(Connection::new(Bounded::try_from(stream)?)))
    }

    /// Who has opened the connection.
    ///
    /// # Errors
    /// If the kernel does not say so.
    pub async fn credentials(&mut self) -> Result<Arc<Credentials>> {
        Ok(Arc::clone(self.0.peer_credentials().await?))
    }

    /// Waits for what comes next.
    pub async fn next(&mut self) -> Next {
        match timeout(PATIENCE, self.0.receive_call::<Said>()).await {
            Ok(Ok((call, descriptors))) => match Request::try_from(call.method()) {
                Ok(request) => Next::Call(request, descriptors),
                Err(error) => Next::Strange(error),
            },
            Ok(Err(zlink::Error::UnexpectedEof)) => Next::End,
            Ok(Err(error)) => Next::Broken(Error::InvalidParameter {
                parameter: error.to_string(),
            }),
            Err(_) => Next::Broken(Error::LimitReached {
                reason: "nothing was said for too long".into(),
            }),
        }
    }

    /// Answers.
    ///
    /// # Errors
    /// If the caller does not hear it.
    pub async fn answer(&mut self, answer: Value, descriptors: Vec<OwnedFd>) -> Result<()> {
        let reply = Reply::new(Some(answer));
        let sent = self.0.send_reply(&reply, descriptors);
        Ok(timeout(PATIENCE, sent).await??)
    }

    /// Answers that it cannot be.
    ///
    /// # Errors
    /// If the caller does not hear it.
    pub async fn refuse(&mut self, error: &Error) -> Result<()> {
        let sent = self.0.send_error(error, Vec::new());
        Ok(timeout(PATIENCE, sent).await??)
    }
}
