/* Load client: N WebSocket connections that count and time every stamped message.
 *
 *   load PORT CLIENTS MESSAGES PID SECONDS [SKIP [SLOW]]
 *
 * Connects, reads what the server greets with, prints "connected" and expects MESSAGES messages on each connection.
 * A message counts when it holds "stamp":<ns of CLOCK_MONOTONIC> near its beginning. Pings are answered. The first SKIP
 * messages of a connection are no part of MESSAGES: when all have them it prints "skipped". SLOW connections more have a
 * small receive buffer, read 1 KiB a second each, and count only as "slow_open" if they are not closed. At the end, or
 * SECONDS after the last message that came, one JSON object tells counts, times and the CPU clock of process PID.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_BYTES = 10, START_BYTES = 96, READ_BYTES = 1 << 18, EVENTS = 1024, PER_ADDRESS = 20000 };
enum { CLOSE = 8, PING = 9, SLOW_BUFFER = 4096, SLOW_BYTES = 1024 };
static const char STAMP[] = "\"stamp\":";

/* One connection, reading a frame: its head (as far as it came), what is left of its payload, how the payload began. */
struct client {
    int fd;
    int head_have, start_have;
    uint64_t left;
    int64_t newest;
    long skip;
    unsigned char head[HEAD_BYTES];
    char start[START_BYTES + 1];
};

static struct {
    int clients;
    uint64_t want, got, other, disorder, closed, to_skip;
    int64_t first_at, last_at;
    int64_t *laps;
} run;

static void fail(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    exit(1);
}

static int64_t clock_ns(clockid_t clock) {
    struct timespec at;
    if (clock_gettime(clock, &at)) return 0;
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static int64_t process_cpu_ns(int pid) {
    clockid_t clock;
    return clock_getcpuclockid(pid, &clock) ? 0 : clock_ns(clock);
}

/* User and kernel time in clock ticks, and resident memory in KiB. */
static void read_process(int pid, long *user, long *kernel, long *rss) {
    char path[64], text[1024] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return;
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    const char *rest = strrchr(text, ')');
    long pages = 0;
    if (rest && sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld %*d %*d %*d %*d %*d %*d %*u %*u %ld",
                       user, kernel, &pages) == 3)
        *rss = pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int open_client(int port, int number, int receive_bytes) {
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK + number / PER_ADDRESS)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    if (fd < 0) fail("client %d: %s (raise ulimit -n)", number, strerror(errno));
    if (receive_bytes) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    if (number >= PER_ADDRESS && bind(fd, (struct sockaddr *)&from, sizeof from)) fail("bind: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&server, sizeof server)) fail("client %d: %s", number, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct timeval patience = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char text[512];
    int size = snprintf(text, sizeof text,
                        "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", port);
    if (send(fd, text, size, MSG_NOSIGNAL) != size) fail("client %d: cannot ask for the upgrade", number);
    uint32_t window = 0;
    for (int have = 0; window != 0x0d0a0d0a; have++) { /* one at a time: frames may follow the head at once */
        unsigned char byte;
        if (recv(fd, &byte, 1, 0) != 1) fail("client %d: no answer to the upgrade", number);
        if (have < 12 && byte != "HTTP/1.1 101"[have]) fail("client %d: the upgrade was refused", number);
        window = window << 8 | byte;
    }
    return fd;
}

static void answer_ping(struct client *client) {
    unsigned char frame[6 + 125] = {0x80 | 10, 0x80 | (client->head[1] & 127)}; /* the mask stays zero */
    int size = client->start_have;
    memcpy(frame + 6, client->start, size);
    if (size == (client->head[1] & 127)) send(client->fd, frame, 6 + size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* A whole frame is in. */
static void take_frame(struct client *client, int64_t at) {
    int opcode = client->head[0] & 15;
    client->start[client->start_have] = 0;
    const char *found = opcode < CLOSE ? strstr(client->start, STAMP) : NULL;
    if (opcode == PING) answer_ping(client);
    if (!found || run.got == run.want) {
        run.other++;
    } else {
        int64_t stamp = strtoll(found + sizeof STAMP - 1, NULL, 10);
        run.disorder += stamp <= client->newest;
        client->newest = stamp;
        run.last_at = at;
        if (client->skip) {
            client->skip--;
            run.to_skip--;
        } else {
            if (!run.got) run.first_at = at;
            run.laps[run.got++] = at - stamp;
        }
    }
    client->head_have = client->start_have = 0;
}

static int head_size(const struct client *client) {
    if (client->head_have < 2) return 2;
    int length = client->head[1] & 127;
    return length == 126 ? 4 : length == 127 ? 10 : 2;
}

static void take_bytes(struct client *client, const char *data, size_t size, int64_t at) {
    const char *end = data + size;
    while (data < end) {
        if (client->head_have < head_size(client)) {
            client->head[client->head_have++] = *data++;
            int whole = head_size(client);
            if (client->head_have < 2 || client->head_have < whole) continue;
            client->left = whole == 2 ? client->head[1] & 127 : 0;
            for (int i = 2; i < whole; i++) client->left = client->left << 8 | client->head[i];
        } else {
            uint64_t part = (uint64_t)(end - data) < client->left ? (uint64_t)(end - data) : client->left;
            int keep = START_BYTES - client->start_have;
            if (part < (uint64_t)keep) keep = part;
            memcpy(client->start + client->start_have, data, keep);
            client->start_have += keep;
            client->left -= part;
            data += part;
        }
        if (!client->left) take_frame(client, at);
    }
}

/* Read what is there; returns how many connections had something. */
static int read_ready(int poller, struct client *clients, int patience_ms) {
    static char data[READ_BYTES];
    struct epoll_event ready[EVENTS];
    int count = epoll_wait(poller, ready, EVENTS, patience_ms);
    for (int i = 0; i < count; i++) {
        struct client *client = &clients[ready[i].data.u32];
        ssize_t size = recv(client->fd, data, sizeof data, MSG_DONTWAIT);
        if (size > 0) {
            take_bytes(client, data, size, clock_ns(CLOCK_MONOTONIC));
        } else if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
            epoll_ctl(poller, EPOLL_CTL_DEL, client->fd, NULL);
            run.closed++;
        }
    }
    return count;
}

/* Each slow connection reads so much a second, one after the other; returns how many reads have been made. */
static int64_t read_slowly(const int *fds, int count, int64_t since, int64_t reads) {
    static char data[SLOW_BYTES];
    for (; count && reads * 1000000000 / count < clock_ns(CLOCK_MONOTONIC) - since; reads++)
        if (recv(fds[reads % count], data, sizeof data, MSG_DONTWAIT) == 0) close(fds[reads % count]);
    return reads;
}

static int is_open(int fd) {
    struct tcp_info info;
    socklen_t size = sizeof info;
    return !getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) && info.tcpi_state == TCP_ESTABLISHED;
}

static int rising(const void *a, const void *b) {
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static double quantile_ms(double q) {
    if (!run.got) return 0;
    uint64_t rank = (uint64_t)(q * run.got);
    return run.laps[rank < run.got ? rank : run.got - 1] / 1e6;
}

int main(int argc, char **argv) {
    if (argc < 6 || argc > 8) fail("usage: load PORT CLIENTS MESSAGES PID SECONDS [SKIP [SLOW]]");
    int port = atoi(argv[1]), messages = atoi(argv[3]), pid = atoi(argv[4]);
    int skip = argc > 6 ? atoi(argv[6]) : 0, slow = argc > 7 ? atoi(argv[7]) : 0, *slow_fds = calloc(slow + 1, sizeof(int));
    int64_t patience = (int64_t)atoi(argv[5]) * 1000000000;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    run.clients = atoi(argv[2]);
    run.want = (uint64_t)run.clients * messages;
    run.laps = malloc(sizeof *run.laps * (run.want + 1));
    memset(run.laps, 1, sizeof *run.laps * (run.want + 1)); /* the pages are there before the clock runs */
    struct client *clients = calloc(run.clients, sizeof *clients);
    int poller = epoll_create1(0);
    long user = 0, kernel = 0, rss_before = 0, rss_open = 0, rss_skipped = 0, rss_end = 0, user_end = 0, kernel_end = 0;

    read_process(pid, &user, &kernel, &rss_before);
    int64_t start = clock_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < run.clients; i++) {
        struct epoll_event interest = {.events = EPOLLIN, .data.u32 = i};
        clients[i].fd = open_client(port, i, 0);
        clients[i].skip = skip;
        epoll_ctl(poller, EPOLL_CTL_ADD, clients[i].fd, &interest);
    }
    for (int i = 0; i < slow; i++) slow_fds[i] = open_client(port, run.clients + i, SLOW_BUFFER);
    run.to_skip = (uint64_t)run.clients * skip;
    double connect_seconds = (clock_ns(CLOCK_MONOTONIC) - start) / 1e9;
    while (read_ready(poller, clients, 500) > 0) {}
    run.other = 0;
    read_process(pid, &user, &kernel, &rss_open);
    int64_t cpu = process_cpu_ns(pid);
    puts("connected");
    fflush(stdout);

    int64_t slow_since = run.last_at = clock_ns(CLOCK_MONOTONIC), slow_reads = 0;
    int told = !skip;
    while (run.got < run.want && run.closed < (uint64_t)run.clients &&
           clock_ns(CLOCK_MONOTONIC) - run.last_at < patience) {
        read_ready(poller, clients, slow ? 5 : 100);
        slow_reads = read_slowly(slow_fds, slow, slow_since, slow_reads);
        if (!told && !run.to_skip) {
            puts("skipped");
            fflush(stdout);
            cpu = process_cpu_ns(pid);
            read_process(pid, &user, &kernel, &rss_skipped);
            told = 1;
        }
    }
    cpu = process_cpu_ns(pid) - cpu;
    read_process(pid, &user_end, &kernel_end, &rss_end);

    int slow_open = 0;
    for (int i = 0; i < slow; i++) slow_open += is_open(slow_fds[i]);
    double each = run.got ? 1e6 / run.got : 0, tick = 1.0 / sysconf(_SC_CLK_TCK);
    qsort(run.laps, run.got, sizeof *run.laps, rising);
    printf("{\"connect_s\":%.3f,\"want\":%llu,\"got\":%llu,\"other\":%llu,\"disorder\":%llu,\"closed\":%llu,"
           "\"seconds\":%.4f,\"cpu_us\":%.4f,\"user_us\":%.3f,\"kernel_us\":%.3f,\"p50_ms\":%.4f,\"p99_ms\":%.4f,"
           "\"max_ms\":%.4f,\"rss_before_kb\":%ld,\"rss_open_kb\":%ld,\"rss_skipped_kb\":%ld,\"rss_end_kb\":%ld,"
           "\"slow_open\":%d}\n",
           connect_seconds, (unsigned long long)run.want, (unsigned long long)run.got, (unsigned long long)run.other,
           (unsigned long long)run.disorder, (unsigned long long)run.closed,
           run.got ? (run.last_at - run.first_at) / 1e9 : 0, cpu / 1e9 * each, (user_end - user) * tick * each,
           (kernel_end - kernel) * tick * each, quantile_ms(0.5), quantile_ms(0.99), quantile_ms(1), rss_before,
           rss_open, rss_skipped, rss_end, slow_open);
    return 0;
}
