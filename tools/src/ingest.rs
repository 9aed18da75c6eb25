// SPDX-License-Identifier: GPL-2.0-only
//! Hashing files and storing them, on several threads.

use std::fs::File;
use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender, TrySendError};
use std::sync::{Mutex, PoisonError};

use anyhow::{anyhow, Error, Result};
use rustix::fs::Stat;

use crate::copy::Source;
use crate::fsverity::{Algorithm, Digest, Hasher};
use crate::limits;
use crate::lock::lock;
use crate::progress::Progress;
use crate::read::{read, BUFFER_SIZE};
use crate::store::{self, Store};
use crate::tree::NodeId;

/// Most files of a batch: handing over each small file would take longer than hashing it.
const BATCH: usize = 16;
/// Bytes of files that make a batch.
const BATCH_BYTES: u64 = 256 << 10;
/// Batches that wait to be hashed. All of their files are open.
const QUEUE: usize = 4;

/// Threads beyond this many are not started.
const THREADS_MAX: usize = 256;

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

/// Files that are handed over together.
#[derive(Default)]
struct Batch {
    jobs: Vec<Job>,
    bytes: u64,
}

/// Takes the files of a walk.
pub struct Ingest<'a> {
    /// Where files go; `None` if there is no other thread.
    queue: Option<SyncSender<Batch>>,
    /// What is to go there next.
    batch: Batch,
    /// How many files make a batch.
    batch_max: usize,
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
        let Some(queue) = &self.queue else {
            return self.worker.process(&job);
        };
        self.batch.bytes += stat.st_size as u64;
        self.batch.jobs.push(job);
        if self.batch.jobs.len() < self.batch_max && self.batch.bytes < BATCH_BYTES {
            return Ok(());
        }
        match queue.try_send(std::mem::take(&mut self.batch)) {
            Ok(()) => Ok(()),
            // The others have enough to do. Do some of it, unless that would keep the walk from
            // finding more for them.
            Err(TrySendError::Full(batch)) if batch.bytes < 2 * BATCH_BYTES => {
                self.worker.process_all(&batch)
            }
            Err(TrySendError::Full(batch)) => queue.send(batch).map_err(|_| interrupted()),
            Err(TrySendError::Disconnected(_)) => Err(interrupted()),
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
        while let Some(batch) = next(&receiver) {
            // Once something has failed, what is left in the queue is only taken out of it.
            if cancelled.load(Ordering::Relaxed) {
                continue;
            }
            if let Err(failure) = worker.process_all(&batch) {
                cancelled.store(true, Ordering::Relaxed);
                lock(&failed).get_or_insert(failure);
            }
        }
        worker.done
    };
    let files = limits::open_files();
    let workers = options.threads.min(files / 8).clamp(1, THREADS_MAX);
    let mut done = Vec::new();
    let walked = std::thread::scope(|scope| {
        let mut ingest = Ingest {
            queue: None,
            batch: Batch::default(),
            // Every thread has one, and all of its files are open.
            batch_max: (files / 4 / workers).clamp(1, BATCH),
            worker: worker(),
            cancelled: &cancelled,
        };
        let threads: Vec<_> = (1..workers)
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
        let mut walked = walk(&mut ingest);
        if walked.is_ok() {
            walked = ingest.worker.process_all(&ingest.batch);
        }
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

fn next(receiver: &Mutex<Receiver<Batch>>) -> Option<Batch> {
    lock(receiver).recv().ok()
}

impl Worker<'_> {
    fn process_all(&mut self, batch: &Batch) -> Outcome {
        batch.jobs.iter().try_for_each(|job| self.process(job))
    }

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
            };
            store.put(&digest, source, job.node)?;
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
            let count = read(&job.file, &mut self.buffer)?;
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
