// SPDX-License-Identifier: GPL-2.0-only
/* C functions for a lock that is one bit. */
#include <linux/sched.h>
#include <linux/wait_bit.h>

#include "helpers.h"

/* Return: 0, or -EINTR if the task was killed while it waited for its turn. */
int rust_vfs_lock_bit(unsigned long *word)
{
	return wait_on_bit_lock(word, 0, TASK_KILLABLE);
}

void rust_vfs_unlock_bit(unsigned long *word)
{
	clear_and_wake_up_bit(0, word);
}
