// SPDX-License-Identifier: GPL-2.0-only
//! Asking for what is in packs: whatever of an object's neighbours is wanted as well comes with it.

use std::collections::HashSet;
use std::io::Read;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{anyhow, Result};
use composefs_tools::fsverity::Digest;

use crate::asked::Asked;
use crate::batch::{Batch, Trouble};
use crate::fetch::Fetching;
use crate::layout::{Frame, Packs};
use crate::pack::{self, frame};
use crate::queue::Number;
use crate::rate::Limited;

/// Bytes that are read in vain rather than to ask once more.
const GAP: u64 = 64 << 10;
/// How often it is noted that something comes.
const TOUCH: Duration = Duration::from_millis(500);

/// Asks for objects that are near one another.
///
/// # Errors
/// If something is wrong here; what is wrong with the source is noted.
pub(crate) fn ask(
    all: &Fetching,
    asked: &Asked,
    packs: &Packs,
    objects: &[Number],
    batch: &mut Batch,
) -> Result<()> {
    let run = objects.first().map_or(&[][..], |&first| packs.run(first));
    let mut taken: HashSet<_> = objects.iter().copied().collect();
    let frames: Vec<_> = run
        .iter()
        .filter(|frame| {
            frame
                .objects
                .iter()
                .any(|(number, _)| taken.contains(number))
        })
        .collect();
    let mut asking = Asking {
        all,
        asked,
        taken: &mut taken,
        batch,
        touched: Instant::now(),
    };
    let result = requests(&frames).try_for_each(|request| asking.request(request));
    // What is left did not come, all for the same reason.
    for number in taken.drain() {
        all.queue.give_back(number);
    }
    match result {
        Err(Trouble::Source(error)) => {
            all.leave(asked, &error);
            Ok(())
        }
        Err(Trouble::Lie(error)) => {
            all.leave_for_good(asked, &error);
            Ok(())
        }
        Err(Trouble::Here(error)) => Err(error),
        Ok(()) | Err(Trouble::Absent | Trouble::Overtaken) => Ok(()),
    }
}

/// The frames that are near enough to one another.
fn requests<'a, 'b>(frames: &'b [&'a Frame]) -> impl Iterator<Item = &'b [&'a Frame]> {
    frames.chunk_by(|one, next| next.part.start.saturating_sub(one.part.end) <= GAP)
}

struct Asking<'a, 'b, 'c> {
    all: &'a Fetching<'a>,
    asked: &'a Asked<'a>,
    /// Those that nobody else is at.
    taken: &'b mut HashSet<Number>,
    batch: &'b mut Batch<'c>,
    touched: Instant,
}

impl Asking<'_, '_, '_> {
    fn request(&mut self, frames: &[&Frame]) -> Result<(), Trouble> {
        let (Some(first), Some(last)) = (frames.first(), frames.last()) else {
            return Ok(());
        };
        let path = format!("{}/{}", pack::DIR, pack::pack_name(&first.pack));
        let part = first.part.start..last.part.end;
        let mut at = part.start;
        let stream = self.asked.source.open(&path, Some(part));
        let stream = stream.map_err(|refusal| Trouble::Source(refusal.into_error(&path)))?;
        let mut stream = Limited::new(stream, self.all.rate);
        for frame in frames {
            skip(&mut stream, at..frame.part.start).map_err(|error| source(error, &first.pack))?;
            self.frame(&mut stream, frame)?;
            at = frame.part.end;
        }
        Ok(())
    }

    fn frame(&mut self, stream: &mut impl Read, frame: &Frame) -> Result<(), Trouble> {
        let damaged = |error: std::io::Error| source(error.into(), &frame.pack);
        let len = frame.part.end.saturating_sub(frame.part.start);
        let mut content = frame::Frame::new(stream, len).map_err(damaged)?;
        for &(number, at) in &frame.objects {
            let wanted = self.all.wanted.get(number);
            let Some(wanted) = wanted.filter(|_| self.taken.contains(&number)) else {
                continue;
            };
            content.skip_to(at).map_err(damaged)?;
            match self.batch.put(number, wanted, &mut content) {
                Ok(()) => {
                    self.asked.recover();
                    self.all.queue.done(number);
                }
                Err(Trouble::Overtaken) => self.all.queue.give_back(number),
                Err(trouble) => return Err(trouble),
            }
            self.taken.remove(&number);
            if self.touched.elapsed() >= TOUCH {
                self.all.queue.touch(&*self.taken);
                self.touched = Instant::now();
            }
        }
        content.finish().map_err(damaged)
    }
}

fn skip(stream: &mut impl Read, gap: Range<u64>) -> Result<()> {
    let len = gap.end.saturating_sub(gap.start);
    let skipped = std::io::copy(&mut stream.take(len), &mut std::io::sink())?;
    match skipped == len {
        true => Ok(()),
        false => Err(anyhow!("ends too early")),
    }
}

fn source(error: anyhow::Error, pack: &Digest) -> Trouble {
    let path = format!("{}/{}", pack::DIR, pack::pack_name(pack));
    Trouble::Source(error.context(path))
}
