/* Runs a program whose system calls are refused, as sandboxes and small
 * kernels refuse them.
 *
 *     refuse RULE... -- PROGRAM ARGUMENT...
 *
 * A rule is CALL[,ARG=VALUE...]:ERRNO[:SKIP[:TIMES]], all numbers: the call,
 * where its arguments (from 0) have these values, fails with ERRNO. The first
 * SKIP of them pass; after TIMES failures they pass again (0: never).
 *
 * The program keeps this process, so its id is what whoever started us knows.
 * A process beside it answers the kernel's questions until the program ends.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX 16

struct rule {
    long call;
    int args, index[6];
    unsigned long long value[6];
    long error, skip, times;
    long seen, failed;
};

static struct rule rules[MAX];
static int count;

static void fail(const char *what) {
    perror(what);
    exit(126);
}

static void parse(char *text) {
    struct rule *rule = &rules[count++];
    char *next;
    rule->call = strtol(text, &next, 0);
    while (*next == ',') {
        rule->index[rule->args] = strtol(next + 1, &next, 0);
        rule->value[rule->args++] = strtoull(next + 1, &next, 0);
    }
    if (*next == ':') rule->error = strtol(next + 1, &next, 0);
    if (*next == ':') rule->skip = strtol(next + 1, &next, 0);
    if (*next == ':') rule->times = strtol(next + 1, &next, 0);
}

static int matches(const struct rule *rule, const struct seccomp_data *data) {
    if (data->nr != rule->call) return 0;
    for (int i = 0; i < rule->args; i++)
        /* The kernel reads an int where the library passes a long. */
        if ((unsigned)data->args[rule->index[i]] != (unsigned)rule->value[i]) return 0;
    return 1;
}

static void answer(int listener) {
    for (;;) {
        struct pollfd ready = {.fd = listener, .events = POLLIN};
        if (poll(&ready, 1, -1) < 0 && errno != EINTR) _exit(1);
        if (ready.revents & (POLLHUP | POLLERR | POLLNVAL)) _exit(0);
        if (!(ready.revents & POLLIN)) continue;
        struct seccomp_notif asked;
        memset(&asked, 0, sizeof asked);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) < 0) continue;
        struct seccomp_notif_resp reply = {
            .id = asked.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        for (int i = 0; i < count; i++) {
            struct rule *rule = &rules[i];
            if (!matches(rule, &asked.data) || rule->seen++ < rule->skip) continue;
            if (rule->times && rule->failed >= rule->times) continue;
            rule->failed++;
            reply.flags = 0;
            reply.error = -rule->error;
            break;
        }
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply);
    }
}

int main(int argc, char **argv) {
    int i = 1;
    for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (count == MAX) return 126;
        parse(argv[i]);
    }
    if (i + 1 >= argc) {
        fprintf(stderr, "refuse RULE... -- PROGRAM ARGUMENT...\n");
        return 126;
    }
    volatile int *listener =
        mmap(NULL, sizeof *listener, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (listener == MAP_FAILED) fail("mmap");
    *listener = -1;

    /* It shares our descriptors, and so has the listener as soon as we have it. */
    long beside = syscall(SYS_clone, CLONE_FILES, 0, 0, 0, 0);
    if (beside < 0) fail("clone");
    if (beside == 0) {
        int tries = 0;
        while (*listener < 0 && tries++ < 5000) usleep(1000);
        if (*listener < 0 || unshare(CLONE_FILES) < 0) _exit(1);
        setsid();
        /* Whoever waits for the program's output must not wait for us. */
        for (int fd = 0; fd < 3; fd++) close(fd);
        *(listener + 0) = *listener | 0x40000000;
        answer(*listener & 0x3fffffff);
    }

    struct sock_filter code[MAX + 3];
    int len = 0;
    code[len++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
    for (int r = 0; r < count; r++)
        code[len++] = (struct sock_filter)BPF_JUMP(
            BPF_JMP | BPF_JEQ | BPF_K, rules[r].call, count - r, 0);
    code[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    struct sock_fprog filter = {.len = len, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) fail("no_new_privs");
    int fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
    if (fd < 0) fail("seccomp");
    *listener = fd;
    int tries = 0;
    while (!(*listener & 0x40000000) && tries++ < 5000) usleep(1000);
    execvp(argv[i + 1], argv + i + 1);
    fail(argv[i + 1]);
}
