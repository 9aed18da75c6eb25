// SPDX-License-Identifier: GPL-2.0-only
//! What callers say to the mount service, on a real connection.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use composefs_mountd::conversation::{runtime, Conversation, Next};

/// More than a connection is heard of, and less than the kernel keeps.
const MAX: usize = 80 * 1024;

/// Says it all, and hears what is understood, and then the end. One message may have several calls.
pub(crate) fn varlink(bytes: &[u8]) {
    let bytes = bytes.get(..MAX).unwrap_or(bytes);
    let (mut caller, service) = UnixStream::pair().expect("sockets");
    caller.write_all(bytes).expect("room");
    caller.shutdown(Shutdown::Write).expect("socket");
    runtime().expect("runtime").block_on(async {
        let mut conversation = Conversation::new(service).expect("conversation");
        for _ in 0..=bytes.len() {
            match conversation.next().await {
                Next::Call(_, descriptors) => assert!(descriptors.is_empty()),
                Next::Strange(error) => drop(error.to_string()),
                Next::Broken(_) | Next::End => return,
            }
        }
        panic!("more was understood than was said");
    });
}
