/* Resume client: N WebSocket connections that resume at once and check that they get each event, once, in order.
 *
 *   resume PORT CLIENTS EPOCH SEQ MISSED SECONDS
 *
 * All connect at the same time, ask for everything after SEQ, and read. Events SEQ + 1 to SEQ + MISSED are the backlog;
 * what follows and was stamped ("stamp":<ns of CLOCK_MONOTONIC>) after the ping that says so came is live. Prints
 * "caught up" when every connection has its backlog, and one JSON object when standard input ends, or after SECONDS.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { START_BYTES = 96, END_BYTES = 64, READ_BYTES = 1 << 18, EVENTS = 1024, HEAD_BYTES = 10 };
enum { CONNECTING, READING };
static const char STAMP[] = "\"stamp\":", SEQ[] = "\"seq\":", CONFIRMED[] = "\"subscription_confirmed\"";

/* One connection: the frame it is in (head, first and last bytes of the payload), and what it has got. */
struct client {
    int fd, state, head_have, start_have, end_have;
    uint32_t window;
    uint64_t left;
    int64_t last, live_at, caught_up_at;
    unsigned char head[HEAD_BYTES];
    char start[START_BYTES + 1], end[2 * END_BYTES + 1];
};

static struct {
    int clients, caught_up, confirmed;
    int64_t since, missed, began_at, first_at, live, live_worst, wrong, closed, bytes;
    char request[512];
    int request_size;
} run;

static void fail(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

/* A client's frame with a mask of zeros. */
static int masked(char *frame, const char *text) {
    int size = strlen(text), head = 0;
    frame[head++] = (char)0x81;
    if (size < 126) {
        frame[head++] = (char)(0x80 | size);
    } else {
        frame[head++] = (char)(0x80 | 126);
        frame[head++] = (char)(size >> 8);
        frame[head++] = (char)size;
    }
    memset(frame + head, 0, 4);
    memcpy(frame + head + 4, text, size);
    return head + 4 + size;
}

static void begin(struct client *client, int port, int poller, int number) {
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct epoll_event interest = {.events = EPOLLIN, .data.u32 = number};
    char text[512];
    int yes = 1;
    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (client->fd < 0) fail("client %d: %s (raise ulimit -n)", number, strerror(errno));
    if (connect(client->fd, (struct sockaddr *)&server, sizeof server)) fail("client %d: %s", number, strerror(errno));
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    int size = snprintf(text, sizeof text,
                        "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                        "Sec-WebSocket-Protocol: observatory.v1\r\n\r\n", port);
    if (send(client->fd, text, size, MSG_NOSIGNAL) != size) fail("client %d: cannot ask for the upgrade", number);
    fcntl(client->fd, F_SETFL, O_NONBLOCK);
    client->last = run.since;
    epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &interest);
}

static void take_event(struct client *client, const char *found, int64_t at) {
    client->end[client->end_have] = 0;
    const char *place = NULL, *next = client->end;
    while ((next = strstr(next, SEQ))) place = next++;
    int64_t seq = place ? strtoll(place + sizeof SEQ - 1, NULL, 10) : -1, stamp = strtoll(found + sizeof STAMP - 1, NULL, 10);
    run.wrong += seq != client->last + 1;
    client->last = seq;
    if (seq == run.since + 1 && !run.first_at) run.first_at = at;
    if (seq == run.since + run.missed) {
        client->caught_up_at = at;
        run.caught_up++;
    }
    if (seq > run.since + run.missed && client->live_at && stamp > client->live_at) {
        run.live++;
        if (at - stamp > run.live_worst) run.live_worst = at - stamp;
    }
}

static void take_frame(struct client *client, int64_t at) {
    client->start[client->start_have] = 0;
    const char *found = strstr(client->start, STAMP);
    if (found) {
        take_event(client, found, at);
    } else if (strstr(client->start, CONFIRMED)) {
        run.confirmed++;
    } else if (strstr(client->start, "\"ping\"")) {
        if (!client->live_at) client->live_at = at;
        char frame[64];
        int size = masked(frame, "{\"type\":\"pong\"}");
        send(client->fd, frame, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    client->head_have = client->start_have = client->end_have = 0;
}

static int head_size(const struct client *client) {
    if (client->head_have < 2) return 2;
    int length = client->head[1] & 127;
    return length == 126 ? 4 : length == 127 ? 10 : 2;
}

/* Keep the last bytes of a payload: its end tells the seq. */
static void keep_end(struct client *client, const char *data, uint64_t size) {
    if (size >= END_BYTES) {
        memcpy(client->end, data + size - END_BYTES, END_BYTES);
        client->end_have = END_BYTES;
        return;
    }
    memcpy(client->end + client->end_have, data, size);
    client->end_have += size;
    if (client->end_have > END_BYTES) {
        memmove(client->end, client->end + client->end_have - END_BYTES, END_BYTES);
        client->end_have = END_BYTES;
    }
}

static const char *take_head(struct client *client, const char *data) {
    client->head[client->head_have++] = *data++;
    int whole = head_size(client);
    if (client->head_have < 2 || client->head_have < whole) return data;
    client->left = whole == 2 ? client->head[1] & 127 : 0;
    for (int i = 2; i < whole; i++) client->left = client->left << 8 | client->head[i];
    return data;
}

static void take_bytes(struct client *client, const char *data, size_t size, int64_t at) {
    const char *end = data + size;
    while (data < end && client->state == CONNECTING) {
        client->window = client->window << 8 | (unsigned char)*data++;
        if (client->window == 0x0d0a0d0a) {
            client->state = READING;
            if (send(client->fd, run.request, run.request_size, MSG_NOSIGNAL) != run.request_size) fail("cannot ask");
        }
    }
    while (data < end) {
        if (client->head_have < head_size(client)) {
            data = take_head(client, data);
            if (client->head_have < 2 || client->head_have < head_size(client)) continue;
        } else {
            uint64_t part = (uint64_t)(end - data) < client->left ? (uint64_t)(end - data) : client->left;
            int keep = START_BYTES - client->start_have;
            if (part < (uint64_t)keep) keep = part;
            memcpy(client->start + client->start_have, data, keep);
            client->start_have += keep;
            keep_end(client, data, part);
            client->left -= part;
            data += part;
        }
        if (!client->left) take_frame(client, at);
    }
}

static void read_ready(int poller, struct client *clients) {
    static char data[READ_BYTES];
    struct epoll_event ready[EVENTS];
    int count = epoll_wait(poller, ready, EVENTS, 20);
    for (int i = 0; i < count; i++) {
        struct client *client = &clients[ready[i].data.u32];
        ssize_t size = recv(client->fd, data, sizeof data, MSG_DONTWAIT);
        if (size > 0) {
            run.bytes += size;
            take_bytes(client, data, size, now_ns());
        } else if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
            epoll_ctl(poller, EPOLL_CTL_DEL, client->fd, NULL);
            run.closed++;
        }
    }
}

static int told_to_end(void) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    return poll(&input, 1, 0) > 0;
}

int main(int argc, char **argv) {
    if (argc != 7) fail("usage: resume PORT CLIENTS EPOCH SEQ MISSED SECONDS");
    int port = atoi(argv[1]), told = 0;
    char text[400];
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    run.clients = atoi(argv[2]), run.since = atoll(argv[4]), run.missed = atoll(argv[5]);
    snprintf(text, sizeof text, "{\"id\":1,\"type\":\"subscribe\",\"data\":{\"topics\":[\"all_conversations\"],"
             "\"resume\":{\"epoch\":\"%s\",\"seq\":%lld}}}", argv[3], (long long)run.since);
    run.request_size = masked(run.request, text);
    struct client *clients = calloc(run.clients, sizeof *clients);
    int poller = epoll_create1(0);
    run.began_at = now_ns();
    int64_t until = run.began_at + (int64_t)atoi(argv[6]) * 1000000000;
    for (int i = 0; i < run.clients; i++) begin(&clients[i], port, poller, i);
    while (now_ns() < until && !(told && told_to_end()) && run.closed < run.clients) {
        read_ready(poller, clients);
        if (!told && run.caught_up == run.clients) {
            puts("caught up");
            fflush(stdout);
            told = 1;
        }
    }
    int64_t last = 0;
    for (int i = 0; i < run.clients; i++) last = clients[i].caught_up_at > last ? clients[i].caught_up_at : last;
    printf("{\"confirmed\":%d,\"caught_up\":%d,\"wrong\":%lld,\"closed\":%lld,\"bytes\":%lld,\"live\":%lld,"
           "\"live_worst_ms\":%.3f,\"replay_seconds\":%.4f,\"all_caught_up_seconds\":%.4f}\n",
           run.confirmed, run.caught_up, (long long)run.wrong, (long long)run.closed, (long long)run.bytes,
           (long long)run.live, run.live_worst / 1e6, (last - run.first_at) / 1e9, (last - run.began_at) / 1e9);
    return 0;
}
