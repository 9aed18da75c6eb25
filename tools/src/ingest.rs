// SPDX-License-Identifier: GPL-2.0-only
//! Hashing files and storing them, on several threads.

use std::fs::File;
use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::{Mutex, PoisonError};

use anyhow::{anyhow, Error, Result};
use rustix::fs::Stat;

use crate::copy::BUFFER_SIZE;
use crate::fsverity::{Algorithm, Digest, Hasher};
use crate::progress::Progress;
use crate::read;
use crate::store::{self, Source, Store};
use crate::tree::NodeId;

/// Files that wait to be hashed; each is open.
const QUEUE: usize = 64;

/// How to treat the content of files.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Hash algorithm of the digests.
    pub algorithm: Algorithm,
    /// Number of threads, the walking one included; at least one.
    pub threads: usize,
}

/// What went wrong, and with which file.
#[derive(Debug)]
pub struct Failure {
    /// The file; `None` for the source itself.
    pub node: Option<NodeId>,
    /// The cause.
    pub error: Error,
}

/// Result of walking.
pub type Outcome = Result<(), Failure>;

/// A file that is done.
#[derive(Debug)]
pub struct Done {
    /// Its node.
    pub node: NodeId,
    /// Its digest.
    pub digest: Digest,
}

struct Job {
    node: NodeId,
    file: File,
    stat: Stat,
}

/// Takes the files of a walk.
pub struct Ingest<'a> {
    /// Where files go; `None` if there is no other thread.
    queue: Option<SyncSender<Job>>,
    worker: Worker<'a>,
    cancelled: &'a AtomicBool,
}

struct Worker<'a> {
    store: Option<&'a Store>,
    progress: &'a Progress,
    hasher: Hasher,
    buffer: Vec<u8>,
    done: Vec<Done>,
}

impl Ingest<'_> {
    /// Hands over a file, open at its start, that had the status `stat` when it was opened.
    ///
    /// # Errors
    /// If it is processed at once and that fails, or something else has failed.
    pub fn submit(&mut self, node: NodeId, file: File, stat: Stat) -> Outcome {
        let interrupted = || Failure {
            node: Some(node),
            error: anyhow!("interrupted"),
        };
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(interrupted());
        }
        let job = Job { node, file, stat };
        match &self.queue {
            Some(queue) => queue.send(job).map_err(|_| interrupted()),
            None => self.worker.process(&job),
        }
    }
}

/// Runs `walk` and processes the files that it submits. Returns them in no particular order.
///
/// # Errors
/// The first failure of either.
pub fn run(
    options: &Options,
    store: Option<&Store>,
    progress: &Progress,
    walk: impl FnOnce(&mut Ingest) -> Outcome,
) -> Result<Vec<Done>, Failure> {
    let cancelled = AtomicBool::new(false);
    let failed = Mutex::new(None);
    let worker = || Worker {
        store,
        progress,
        hasher: Hasher::new(options.algorithm),
        buffer: Vec::new(),
        done: Vec::new(),
    };
    let (sender, receiver) = sync_channel(QUEUE);
    let receiver = Mutex::new(receiver);
    // Takes jobs until the walk is over, or something fails.
    let work = |mut worker: Worker| {
        while let Some(job) = next(&receiver) {
            // Once something has failed, what is left in the queue is only taken out of it.
            if cancelled.load(Ordering::Relaxed) {
                continue;
            }
            if let Err(failure) = worker.process(&job) {
                cancelled.store(true, Ordering::Relaxed);
                lock(&failed).get_or_insert(failure);
            }
        }
        worker.done
    };
    let mut done = Vec::new();
    let walked = std::thread::scope(|scope| {
        let mut ingest = Ingest {
            queue: None,
            worker: worker(),
            cancelled: &cancelled,
        };
        let threads: Vec<_> = (1..options.threads)
            .filter_map(|_| {
                std::thread::Builder::new()
                    .spawn_scoped(scope, || work(worker()))
                    .ok()
            })
            .collect();
        if threads.is_empty() {
            drop(sender);
        } else {
            ingest.queue = Some(sender);
        }
        let walked = walk(&mut ingest);
        if walked.is_err() {
            cancelled.store(true, Ordering::Relaxed);
        }
        // The walk is over: help with what is left.
        drop(ingest.queue.take());
        done = work(ingest.worker);
        for thread in threads {
            match thread.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        walked
    });
    let walked = walked.and_then(|()| match store {
        Some(store) if !cancelled.load(Ordering::Relaxed) => Ok(store.finish()?),
        _ => Ok(()),
    });
    if let Some(failure) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(failure);
    }
    walked.map(|()| done)
}

fn next(receiver: &Mutex<Receiver<Job>>) -> Option<Job> {
    lock(receiver).recv().ok()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Worker<'_> {
    fn process(&mut self, job: &Job) -> Outcome {
        let fail = |error| Failure {
            node: Some(job.node),
            error,
        };
        let (digest, whole) = self.hash(job).map_err(fail)?;
        if let Some(store) = self.store {
            let source = Source {
                file: &job.file,
                size: job.stat.st_size as u64,
                content: whole.map(|count| &self.buffer[..count]),
                id: job.node,
            };
            store.put(&digest, source)?;
        }
        self.done.push(Done {
            node: job.node,
            digest,
        });
        self.progress.step();
        Ok(())
    }

    /// The digest of a file, and how much of the buffer holds it, if all of it is there.
    fn hash(&mut self, job: &Job) -> Result<(Digest, Option<usize>)> {
        let size = job.stat.st_size as u64;
        self.buffer.resize(BUFFER_SIZE, 0);
        let whole = loop {
            let count = read::read(&job.file, &mut self.buffer)?;
            self.hasher.update(&self.buffer[..count]);
            if count == 0 || self.hasher.size() >= size {
                break (count as u64 == size).then_some(count);
            }
        };
        let read = self.hasher.size();
        let digest = self.hasher.finish();
        if read != size {
            return Err(changed());
        }
        expect_unchanged(&job.file, &job.stat)?;
        Ok((digest, whole))
    }
}

impl From<store::Failure> for Failure {
    fn from(failure: store::Failure) -> Self {
        Self {
            node: Some(failure.id),
            error: failure.error,
        }
    }
}

/// Reads a file of few bytes that had the status `stat` when it was opened.
///
/// # Errors
/// If reading fails, or it has changed since.
pub fn read_small(mut file: &File, stat: &Stat) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    if content.len() as u64 != stat.st_size as u64 {
        return Err(changed());
    }
    expect_unchanged(file, stat)?;
    Ok(content)
}

fn changed() -> Error {
    anyhow!("changed while it was read")
}

fn expect_unchanged(file: &File, before: &Stat) -> Result<()> {
    let after = rustix::fs::fstat(file)?;
    let key = |stat: &Stat| {
        (
            stat.st_size,
            (stat.st_mtime, stat.st_mtime_nsec),
            (stat.st_ctime, stat.st_ctime_nsec),
        )
    };
    if key(before) != key(&after) {
        return Err(changed());
    }
    Ok(())
}
