// SPDX-License-Identifier: GPL-2.0-only
/* Whether what is registered is gone when the module is. */
#include <linux/module.h>

#include <asm/sections.h>

#include "helpers.h"

/* Whether @address is that of a static variable of @module (built in: NULL). */
bool rust_vfs_is_module_memory(const void *address, struct module *module)
{
#ifdef MODULE
	return within_module((unsigned long)address, module);
#else
	return __is_kernel((unsigned long)address);
#endif
}
