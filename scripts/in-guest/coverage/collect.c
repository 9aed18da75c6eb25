// SPDX-License-Identifier: GPL-2.0-only
/*
 * Collects where the kernel came by while it worked for a program (KCOV), in any number of
 * programs at the same time: for LD_PRELOAD.
 *
 * COVERAGE names a file of BLOCKS words, all zero at first: a hash table of addresses, which all
 * programs have mapped. What a task was last told of when its program was killed is lost; and a
 * program that may not, or cannot, ask for it (another user, another root) runs without.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/kcov.h>

#define BLOCKS (1UL << 16)
/* Of one task, in words: what it comes by between two looks. */
#define TOLD (1UL << 16)

struct task {
	_Atomic uint64_t *told;
	int kcov;
	struct task *next;
};

struct start {
	void *(*function)(void *);
	void *argument;
};

static _Atomic uint64_t *blocks;
static struct task *tasks;
static pthread_mutex_t tasks_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t key;
static int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

static void add(uint64_t address)
{
	uint64_t at = address * 0x9e3779b97f4a7c15 >> 48;

	for (uint64_t n = 0; n < BLOCKS; n++, at = (at + 1) % BLOCKS) {
		uint64_t there = 0;

		if (atomic_compare_exchange_strong(&blocks[at], &there, address) ||
		    there == address)
			return;
	}
}

/* What is told between the two ends of this is told again, or lost; there is more to come. */
static void take(struct task *task)
{
	uint64_t count = atomic_load(&task->told[0]);

	for (uint64_t nr = 1; nr <= count && nr < TOLD; nr++) {
		uint64_t address = atomic_load(&task->told[nr]);

		if (address)
			add(address);
	}
	atomic_store(&task->told[0], 0);
}

static void take_all(void)
{
	pthread_mutex_lock(&tasks_lock);
	for (struct task *task = tasks; task; task = task->next)
		take(task);
	pthread_mutex_unlock(&tasks_lock);
}

static int map(struct task *task)
{
	if (ioctl(task->kcov, KCOV_INIT_TRACE, TOLD))
		return -1;
	task->told = mmap(NULL, TOLD * 8, PROT_READ | PROT_WRITE, MAP_SHARED, task->kcov, 0);
	if (task->told == MAP_FAILED)
		return -1;
	return ioctl(task->kcov, KCOV_ENABLE, KCOV_TRACE_PC);
}

/* From here on, this task is told of. */
static void begin(void)
{
	struct task *task = calloc(1, sizeof(*task));

	if (!task)
		return;
	task->kcov = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);
	if (task->kcov < 0 || map(task)) {
		/* A mapping stays until the program ends. */
		close(task->kcov);
		free(task);
		return;
	}
	pthread_setspecific(key, task);
	pthread_mutex_lock(&tasks_lock);
	task->next = tasks;
	tasks = task;
	pthread_mutex_unlock(&tasks_lock);
}

static void end(void *of)
{
	struct task *task = of;
	struct task **place = &tasks;

	pthread_mutex_lock(&tasks_lock);
	while (*place != task)
		place = &(*place)->next;
	*place = task->next;
	take(task);
	pthread_mutex_unlock(&tasks_lock);
	ioctl(task->kcov, KCOV_DISABLE, 0);
	munmap((void *)task->told, TOLD * 8);
	close(task->kcov);
	free(task);
}

static void *look(void *unused)
{
	for (;;) {
		usleep(10000);
		take_all();
	}
	return unused;
}

static void *run(void *of)
{
	struct start start = *(struct start *)of;

	free(of);
	begin();
	return start.function(start.argument);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
		   void *(*function)(void *), void *argument)
{
	struct start *start;
	int error;

	if (!blocks)
		return create(thread, attributes, function, argument);
	start = malloc(sizeof(*start));
	if (!start)
		return EAGAIN;
	start->function = function;
	start->argument = argument;
	error = create(thread, attributes, run, start);
	if (error)
		free(start);
	return error;
}

/* Not all of a program's tasks are there after a fork, nor do they tell this one. */
static void forget(void)
{
	pthread_setspecific(key, NULL);
	tasks = NULL;
	blocks = NULL;
	pthread_mutex_init(&tasks_lock, NULL);
}

__attribute__((constructor)) static void load(void)
{
	const char *file = getenv("COVERAGE");
	int fd = file ? open(file, O_RDWR | O_CLOEXEC) : -1;
	void *mapped = MAP_FAILED;
	pthread_t looks;

	create = (typeof(create))dlsym(RTLD_NEXT, "pthread_create");
	if (fd >= 0) {
		mapped = mmap(NULL, BLOCKS * 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	}
	if (mapped == MAP_FAILED || pthread_key_create(&key, end) ||
	    create(&looks, NULL, look, NULL))
		return;
	blocks = mapped;
	pthread_atfork(NULL, NULL, forget);
	begin();
}

__attribute__((destructor)) static void unload(void)
{
	if (blocks)
		take_all();
}
