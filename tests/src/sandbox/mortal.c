/* Preloaded: the program keeps SIGPIPE as it found it, which is fatal. Rust's
 * start-up would have it ignored, by signal(). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>

typedef void (*handler)(int);

handler signal(int number, handler action) {
    static handler (*real)(int, handler);
    if (number == SIGPIPE) return SIG_DFL;
    if (!real) real = (handler (*)(int, handler))dlsym(RTLD_NEXT, "signal");
    return real(number, action);
}
