/* Preloaded: a kernel that does not know UDP_SEGMENT. As Linux before 4.18, it
 * has no such option, and passes over such a control message in silence. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stddef.h>
#include <sys/socket.h>

#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static struct msghdr without(const struct msghdr *message) {
    struct msghdr plain = *message;
    struct cmsghdr *first = CMSG_FIRSTHDR(message);
    if (first && first->cmsg_level == SOL_UDP) {
        plain.msg_control = NULL;
        plain.msg_controllen = 0;
    }
    return plain;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    ssize_t (*next)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");
    if (fd < 0) return next(fd, message, flags);
    struct msghdr plain = without(message);
    return next(fd, &plain, flags);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *len) {
    if (level == SOL_UDP && name == UDP_SEGMENT) {
        errno = ENOPROTOOPT;
        return -1;
    }
    int (*next)(int, int, int, void *, socklen_t *) = dlsym(RTLD_NEXT, "getsockopt");
    return next(fd, level, name, value, len);
}
