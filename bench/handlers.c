/* A pause in C, with handlers for all three signals as in Kubernetes' pause.c: one that ends it, and one that reaps. */

#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void shut_down(int signal) {
    fprintf(stderr, "Shutting down, got signal: %s\n", strsignal(signal));
    _exit(0);
}

static void reap(int signal) {
    (void)signal;
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

static int handle(int signal, void (*handler)(int), int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = flags;
    return sigaction(signal, &action, NULL);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0) {
            puts("handlers.c");
            return 0;
        }
    }
    if (getpid() != 1) {
        fputs("Warning: pause should be the first process\n", stderr);
    }
    if (handle(SIGINT, shut_down, 0) < 0) {
        return 1;
    }
    if (handle(SIGTERM, shut_down, 0) < 0) {
        return 2;
    }
    if (handle(SIGCHLD, reap, SA_NOCLDSTOP) < 0) {
        return 3;
    }
    for (;;) {
        pause();
    }
}
