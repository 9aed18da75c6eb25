// SPDX-License-Identifier: GPL-2.0-only
//! What this process may use.

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

/// How many files may be open at a time. Raises that to what it may be raised to.
pub fn open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(_) => limit.current,
    };
    current.map_or(usize::MAX, |current| {
        usize::try_from(current).unwrap_or(usize::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_may_be_are_open() {
        let before = getrlimit(Resource::Nofile);
        let few = Rlimit {
            current: Some(before.maximum.map_or(512, |maximum| maximum.min(512))),
            ..before
        };
        setrlimit(Resource::Nofile, few).expect("a lower limit");
        let open = open_files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        let current = limit.current.map_or(usize::MAX, |current| current as usize);
        assert_eq!(open, current);
    }
}
