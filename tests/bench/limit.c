/* The floor: one thread, one send() per client and message, nothing else. Usage: limit PORT; orders as in orders.py.
 *
 * It is no WebSocket server: it answers every request with the accept value of the one key that load.c uses.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CLIENTS = 100000, BACKLOG = 4096, HEAD = 4, MAX_SIZE = 65535 };
static const char UPGRADE[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                              "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static int clients[MAX_CLIENTS], count;

static int64_t now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static void greet(int fd) {
    char request[4096];
    size_t have = 0;
    int yes = 1;
    while (have < sizeof request && !memmem(request, have, "\r\n\r\n", 4)) {
        ssize_t size = recv(fd, request + have, sizeof request - have, 0);
        if (size <= 0) {
            close(fd);
            return;
        }
        have += size;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (count < MAX_CLIENTS && send(fd, UPGRADE, sizeof UPGRADE - 1, MSG_NOSIGNAL) > 0) clients[count++] = fd;
}

static void wait_until(int64_t at) {
    struct timespec due = {at / 1000000000, at % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL)) {}
}

static void obey(int messages, int size, int64_t interval_ns) {
    static char frame[HEAD + MAX_SIZE + 1];
    int64_t due = now_ns();
    for (int sent = 0; sent < messages; sent++) {
        wait_until(due);
        memset(frame, 'x', HEAD + size);
        memcpy(frame, (char[]){(char)0x81, 126, (char)(size >> 8), (char)size}, HEAD);
        int begun = sprintf(frame + HEAD, "{\"stamp\":%lld,\"pad\":\"", (long long)now_ns());
        frame[HEAD + begun] = 'x';
        memcpy(frame + HEAD + size - 2, "\"}", 2);
        for (int i = 0; i < count; i++)
            if (send(clients[i], frame, HEAD + size, MSG_NOSIGNAL) < 0) continue;
        int64_t now = now_ns();
        due = due + interval_ns > now ? due + interval_ns : now;
    }
}

int main(int argc, char **argv) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0),
                               .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, BACKLOG)) {
        perror("limit");
        return 1;
    }
    for (;;) {
        struct pollfd sources[2] = {{listener, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
        poll(sources, 2, -1);
        if (sources[0].revents) greet(accept(listener, NULL, NULL));
        if (sources[1].revents) {
            char line[128];
            int messages, size;
            long long interval_us;
            ssize_t have = read(STDIN_FILENO, line, sizeof line - 1);
            if (have <= 0) return 0;
            line[have] = 0;
            if (sscanf(line, "go:%d:%d:%lld", &messages, &size, &interval_us) == 3 && size >= 126 && size <= MAX_SIZE)
                obey(messages, size, interval_us * 1000);
        }
    }
}
