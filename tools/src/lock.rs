// SPDX-License-Identifier: GPL-2.0-only
//! Locks that survive a thread which panicked.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. What a panicking thread left is as good as any here.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
