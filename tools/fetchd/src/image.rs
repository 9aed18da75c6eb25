// SPDX-License-Identifier: GPL-2.0-only
//! The objects of one image: those that are waited for are fetched first, with those that will be
//! next, and the others when nobody waits.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, Context, Error, Result};
use composefs_fetch::fetch::{Fetcher, Watch};
use composefs_fetch::missing::{self, Wanted};
use composefs_fetch::source::{self, Source};
use composefs_fetch::Number;
use composefs_repository::profile::Profile;
use composefs_repository::Repository;
use composefs_tools::fsverity::Digest;
use composefs_tools::lock::lock;
use composefs_tools::{journal, quote};
use rustix::process::{setpriority_process, Pid};

use crate::ahead::Ahead;
use crate::demand::{Demand, Outcome};
use crate::message::Wish;

/// Objects that are fetched at the same time because somebody waits for them.
const PARALLEL: usize = 32;
/// Objects that are fetched together when nobody waits, and bytes of them.
const TOGETHER: usize = 64;
const TOGETHER_BYTES: u64 = 2 << 20;
/// With so many that are fetched ahead together, what comes with the last at little cost is as well: so
/// many behind it at most.
const MANY: usize = 64;
const BESIDES: usize = 1024;
/// How long nobody may have waited for anything before others are fetched.
const QUIET: Duration = Duration::from_millis(200);
/// How long it takes until it is tried again to fetch what nobody had.
const AGAIN: Duration = Duration::from_secs(20);
/// How long a server may be slow.
const STALL: Duration = Duration::from_secs(10);
/// How nice it is to fetch what nobody waits for.
const NICE: i32 = 10;

/// Begins to serve what is wished. It ends with [`Demand::end`].
///
/// # Errors
/// If there is no such image, or nobody to ask for its objects.
pub fn start(wish: &Wish) -> Result<Arc<Demand>> {
    let repository = Repository::open(&wish.repository)?;
    repository.expect_writable()?;
    let digest = Digest::parse_hex(wish.image.as_bytes())
        .map_err(|_| anyhow!("{}: is not a digest", wish.image))?;
    let mut wanted = missing::of_image(&repository, repository.object(&digest)?)
        .with_context(|| repository.name_object(&digest))?;
    match repository.profile(&digest) {
        Ok(Some(profile)) => sort(&mut wanted, &profile),
        Ok(None) => {}
        Err(error) => journal::warning(&format!("{error:#}")),
    }
    let names = repository.sources(&digest);
    let names = names.ok_or_else(|| anyhow!("image {digest}: nothing says who has its objects"))?;
    let access = composefs_http::Access {
        is_verified: names.tls_verify,
        may_be_plain: true,
        authority: None,
        stall: STALL,
    };
    let sources: Result<Vec<_>> = names
        .names
        .iter()
        .map(|name| source::open(name, &access))
        .collect();
    let sources = sources?;
    let lock = RoundLock::new(repository)?;
    let demand = Arc::new(Demand::default());
    let (served, fill) = (demand.clone(), wish.fill);
    thread::Builder::new()
        .name(format!("image {}", wish.image.get(..8).unwrap_or_default()))
        .spawn(move || serve(&lock, &wanted, &sources, &served, fill))
        .context("cannot start a thread")?;
    Ok(demand)
}

/// What programs are known to need comes first, in that order.
fn sort(wanted: &mut [Wanted], profile: &Profile) {
    let places = profile.objects.iter().enumerate();
    let places: HashMap<_, _> = places.map(|(at, object)| (object.digest, at)).collect();
    wanted.sort_by_key(|wanted| places.get(&wanted.digest).copied().unwrap_or(usize::MAX));
}

fn serve(
    lock: &RoundLock,
    wanted: &[Wanted],
    sources: &[Box<dyn Source>],
    demand: &Demand,
    fill: bool,
) {
    let repository = &lock.repository;
    let fetcher = match Fetcher::new(repository, wanted, sources, None) {
        Ok(fetcher) => fetcher,
        Err(error) => {
            journal::warning(&format!("{error:#}"));
            return demand.end();
        }
    };
    let numbers = wanted.iter().enumerate();
    let image = Image {
        lock,
        repository,
        wanted,
        fetcher,
        numbers: numbers
            .map(|(number, wanted)| (wanted.digest, number))
            .collect(),
        demand,
        ahead: Ahead::default(),
    };
    thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| image.serve());
        }
        if fill {
            scope.spawn(|| image.fill());
        }
    });
}

struct Image<'a> {
    lock: &'a RoundLock,
    repository: &'a Repository,
    wanted: &'a [Wanted],
    fetcher: Fetcher<'a>,
    numbers: HashMap<Digest, Number>,
    demand: &'a Demand,
    ahead: Ahead,
}

impl Image<'_> {
    /// Fetches what is waited for.
    fn serve(&self) {
        while let Some(digest) = self.demand.next() {
            self.fetch(&digest);
        }
    }

    /// Fetches an object, unless somebody is at it, and what will be waited for next.
    fn fetch(&self, digest: &Digest) {
        // One of another image has the same trigger in vain.
        let number = self.numbers.get(digest).copied();
        let missing = number.filter(|_| self.repository.object(digest).is_err());
        let Some(number) = missing else {
            return self.demand.settle(digest, Outcome::Settled);
        };
        let size = |number: Number| self.wanted.get(number).map(|wanted| wanted.size);
        let turn = self.ahead.turn(number, size);
        let mut numbers = Vec::new();
        if !turn.comes {
            numbers = self.ahead.claim([number]);
            // If there is one, it is not what it should be.
            self.repository.store().replace([*digest]);
        }
        if let Some(window) = turn.window {
            numbers.extend(self.claim_window(window));
        }
        // What is wrong was said to whom it concerns.
        let _ = self.fetch_claimed(&numbers);
    }

    /// Claims what is not here of a window.
    fn claim_window(&self, window: Range<Number>) -> Vec<Number> {
        let mut numbers: Vec<_> = window.clone().collect();
        if let Some(&last) = numbers.last().filter(|_| numbers.len() >= MANY) {
            let besides = window.end..window.end.saturating_add(BESIDES);
            let near = self.fetcher.near(last).into_iter();
            numbers.extend(near.filter(|number| besides.contains(number)));
            numbers.sort_unstable();
            let end = numbers.last().map_or(window.end, |last| last + 1);
            self.ahead.widen(&window, end);
        }
        let missing = numbers.into_iter().filter(|&number| !self.is_here(number));
        self.ahead.claim(missing)
    }

    fn is_here(&self, number: Number) -> bool {
        self.wanted.get(number).is_some_and(|wanted| {
            let is_here = self.repository.has_object_of(&wanted.digest, wanted.size);
            // Whoever fetches it says what is wrong.
            is_here.unwrap_or(false)
        })
    }

    /// Fetches those that this thread has claimed, and tells who waits for them. Whether all of them are
    /// here.
    fn fetch_claimed(&self, numbers: &[Number]) -> Result<bool> {
        if numbers.is_empty() {
            return Ok(true);
        }
        let rest = self.round(numbers.to_vec());
        self.ahead.release(numbers);
        for &number in numbers {
            let Some(Wanted { digest, .. }) = self.wanted.get(number) else {
                continue;
            };
            let is_here = match &rest {
                Ok(rest) => !rest.contains(&number),
                Err(_) => self.is_here(number),
            };
            let outcome = match is_here {
                true => Outcome::Settled,
                false => Outcome::Failed,
            };
            // Whoever hears of it may look here at once for why.
            if !is_here && self.demand.is_waited_for(digest) {
                journal::warning(&match &rest {
                    Ok(_) => format!("object {digest}: cannot be had from any source now"),
                    Err(error) => format!("object {digest}: {error:#}"),
                });
            }
            self.demand.settle(digest, outcome);
        }
        Ok(rest?.is_empty())
    }

    /// Fetches all that is not here, as long as nobody waits for anything.
    fn fill(&self) {
        // It is only nicer with it.
        let _ = setpriority_process(None::<Pid>, NICE);
        while self.demand.wait_until_idle(QUIET) {
            let more = self.fill_up();
            match more {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => journal::warning(&format!("{error:#}")),
            }
            // A wait of that length, which ends with the mount.
            if !self.demand.wait_until_idle(AGAIN) {
                return;
            }
        }
    }

    /// Fetches what can be had; whether nothing is missing any more.
    fn fill_up(&self) -> Result<bool> {
        let mut is_whole = true;
        let mut next = 0;
        loop {
            let (mut numbers, mut bytes) = (Vec::new(), 0_u64);
            while let Some(wanted) = self.wanted.get(next) {
                if numbers.len() >= TOGETHER || bytes >= TOGETHER_BYTES {
                    break;
                }
                if !self.is_here(next) {
                    numbers.push(next);
                    bytes = bytes.saturating_add(wanted.size);
                }
                next += 1;
            }
            if numbers.is_empty() {
                return Ok(is_whole);
            }
            if !self.demand.wait_until_idle(QUIET) {
                return Ok(false);
            }
            let claimed = self.ahead.claim(numbers.iter().copied());
            is_whole &= self.fetch_claimed(&claimed)? && claimed == numbers;
        }
    }

    /// Fetches some of them; those that cannot be had.
    fn round(&self, numbers: Vec<Number>) -> Result<Vec<Number>> {
        let _held = self.lock.hold()?;
        self.fetcher.round(numbers, self)
    }
}

impl Watch for Image<'_> {
    fn advance(&self, _: u64) {}

    fn leave(&self, source: &str, why: &Error) {
        let source = quote::path(Path::new(source));
        journal::warning(&format!("{source}: {why:#}"));
    }

    fn named(&self, numbers: &[Number]) {
        for wanted in numbers.iter().filter_map(|&number| self.wanted.get(number)) {
            self.demand.settle(&wanted.digest, Outcome::Settled);
        }
    }
}

/// A repository in which nobody collects while something is fetched. What a mounted image needs is
/// never collected, here or not; but who collects is not to wait until all of it is here.
struct RoundLock {
    repository: Repository,
    rounds: Mutex<usize>,
}

impl RoundLock {
    fn new(repository: Repository) -> Result<Self> {
        repository.let_others_collect()?;
        Ok(Self {
            repository,
            rounds: Mutex::new(0),
        })
    }

    fn hold(&self) -> Result<Held<'_>> {
        let mut rounds = lock(&self.rounds);
        if *rounds == 0 {
            self.repository.let_nobody_collect()?;
        }
        *rounds += 1;
        Ok(Held(self))
    }
}

/// Nobody collects as long as this is there.
struct Held<'a>(&'a RoundLock);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut rounds = lock(&self.0.rounds);
        *rounds = rounds.saturating_sub(1);
        if *rounds == 0 {
            // The lock ends with the process at the latest.
            let _ = self.0.repository.let_others_collect();
        }
    }
}
