/* An OpenAI-compatible server with a known timetable, and a log of what it truly did.
 *
 *   mock_server [--ttft-us N] [--itl-us N] [--tokens N] [--whole] [--owner NAME] [--log FILE]
 *
 * Listens on a free port of 127.0.0.1 and prints that port. One thread, one send() per
 * event: response head, role chunk, N content chunks, usage, [DONE]. Chunk i is due at
 * (request read) + TTFT + i * ITL on an absolute timetable, so lateness does not add up;
 * without delays every stream gets one event in turn, as from an engine that steps its batch.
 * --whole sends a response in one piece instead, for the rate of clients alone.
 *
 * At SIGTERM the log is written: int64 numbers, per streamed request
 *   x-request-id or -1, arrival (kernel stamp), fully read, role chunk sent, n, n times two
 * all CLOCK_MONOTONIC ns; the two are the instants right before and right after a send().
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "mock_wire.h"

enum { MAX_FD = 65536, READ_SIZE = 65536, HEADER = 5, BURST = 64 };

typedef struct {
    int open, streaming, usage_each, watches_write, closes;
    int next, tokens;
    char *in, *out;
    size_t in_len, in_cap, out_len, out_cap;
    int64_t last_stamp, start, seq, *log;
} Connection;

typedef struct {
    int64_t due, seq;
    int fd;
} Due;

static Connection connections[MAX_FD];
static Due *heap;
static size_t heap_len, heap_cap;
static int64_t next_seq, ttft_ns, itl_ns, **logs;
static size_t logs_len, logs_cap;
static int epoll_fd, default_tokens = 64, whole;
static const char *owner = "bench", *log_path;
static volatile sig_atomic_t stopping;

static int64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int64_t monotonic_of_wall(int64_t wall) {
    for (;;) {
        int64_t before = clock_ns(CLOCK_MONOTONIC), now = clock_ns(CLOCK_REALTIME);
        int64_t after = clock_ns(CLOCK_MONOTONIC);
        if (after - before < 2000) return wall - now + (before + after) / 2;
    }
}

static void *grown(void *old, size_t needed, size_t *capacity, size_t size) {
    if (needed <= *capacity) return old;
    *capacity = needed * 2;
    void *new = realloc(old, *capacity * size);
    if (!new) abort();
    return new;
}

/* -- what is due, earliest first; equal times in the order they were added ------------- */

static int earlier(Due a, Due b) { return a.due != b.due ? a.due < b.due : a.seq < b.seq; }

static void schedule(int fd, int64_t due) {
    Due entry = {due, next_seq++, fd};
    connections[fd].seq = entry.seq;
    heap = grown(heap, heap_len + 1, &heap_cap, sizeof *heap);
    size_t at = heap_len++;
    while (at && earlier(entry, heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = entry;
}

static Due take_first(void) {
    Due first = heap[0], last = heap[--heap_len];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < heap_len) {
        if (child + 1 < heap_len && earlier(heap[child + 1], heap[child])) child++;
        if (!earlier(heap[child], last)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return first;
}

/* -- connections ----------------------------------------------------------------------- */

static void watch(int fd, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    epoll_ctl(epoll_fd, operation, fd, &event);
}

static void keep_log(Connection *c) {
    if (!c->log) return;
    logs = grown(logs, logs_len + 1, &logs_cap, sizeof *logs);
    logs[logs_len++] = c->log;
    c->log = NULL;
}

static void drop(int fd) {
    Connection *c = &connections[fd];
    keep_log(c);
    close(fd);
    free(c->in);
    free(c->out);
    memset(c, 0, sizeof *c);
    c->seq = -1;
}

static void deliver(int fd, const char *data, size_t length) {
    Connection *c = &connections[fd];
    ssize_t sent = 0;
    if (!c->out_len) {
        sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return; /* the reader notices the end */
        if (sent < 0) sent = 0;
    }
    if ((size_t)sent == length) return;
    c->out = grown(c->out, c->out_len + length - sent, &c->out_cap, 1);
    memcpy(c->out + c->out_len, data + sent, length - sent);
    c->out_len += length - sent;
    if (!c->watches_write) watch(fd, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    c->watches_write = 1;
}

static void deliver_rest(int fd) {
    Connection *c = &connections[fd];
    ssize_t sent = send(fd, c->out, c->out_len, MSG_NOSIGNAL);
    if (sent > 0) memmove(c->out, c->out + sent, c->out_len -= sent);
    if (c->out_len) return;
    watch(fd, EPOLL_CTL_MOD, EPOLLIN);
    c->watches_write = 0;
}

static int64_t due_of(const Connection *c, int index, int64_t now) {
    if (!ttft_ns && !itl_ns) return now;
    int chunk = index < 1 ? 1 : index > c->tokens ? c->tokens : index;
    return c->start + ttft_ns + (chunk - 1) * itl_ns;
}

static void finish(int fd) {
    Connection *c = &connections[fd];
    c->streaming = 0;
    keep_log(c);
    if (c->closes) drop(fd);
}

static void log_send(Connection *c, int64_t before) {
    if (!c->log) return;
    int64_t *pair = c->log + HEADER + 2 * c->log[4]++;
    pair[0] = before;
    pair[1] = clock_ns(CLOCK_MONOTONIC);
}

static void send_whole(int fd) {
    static char *all; /* kept for the next response that is asked alike */
    static size_t length;
    static int tokens = -1, usage_each;
    Connection *c = &connections[fd];
    if (c->tokens != tokens || c->usage_each != usage_each) {
        tokens = c->tokens, usage_each = c->usage_each;
        all = realloc(all, sizeof HEAD + (size_t)(tokens + 3) * EVENT_SIZE);
        memcpy(all, HEAD, length = sizeof HEAD - 1);
        for (int index = 0; index <= tokens + 2; index++)
            length += event_bytes(all + length, index, tokens, usage_each);
    }
    int64_t now = clock_ns(CLOCK_MONOTONIC);
    deliver(fd, all, length);
    for (int index = 0; index < tokens; index++) log_send(c, now);
    finish(fd);
}

static void send_due(Due due) {
    Connection *c = &connections[due.fd];
    if (!c->open || c->seq != due.seq || !c->streaming) return;
    if (whole) {
        send_whole(due.fd);
        return;
    }
    char bytes[EVENT_SIZE];
    int length = event_bytes(bytes, c->next, c->tokens, c->usage_each);
    if (!c->next) deliver(due.fd, HEAD, sizeof HEAD - 1);
    int64_t now = clock_ns(CLOCK_MONOTONIC);
    if (c->log && !c->next) c->log[3] = now;
    deliver(due.fd, bytes, length);
    if (c->next && c->next <= c->tokens) log_send(c, now);
    if (c->next++ == c->tokens + 2)
        finish(due.fd);
    else
        schedule(due.fd, due_of(c, c->next, now));
}

static void answer(int fd, const char *status, const char *body) {
    char bytes[2 * EVENT_SIZE];
    deliver(fd, bytes,
            sprintf(bytes,
                    "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                    status, strlen(body), body));
}

static void begin_stream(int fd, const char *head, const char *body, int64_t arrival) {
    Connection *c = &connections[fd];
    long tokens = number_after(body, "\"max_tokens\":", 0);
    if (tokens <= 0) tokens = number_after(body, "\"max_completion_tokens\":", default_tokens);
    c->streaming = 1;
    c->next = 0;
    c->tokens = (int)tokens;
    c->usage_each = strstr(body, "\"continuous_usage_stats\":true") != NULL;
    c->start = clock_ns(CLOCK_MONOTONIC);
    if (log_path) {
        c->log = calloc(HEADER + 2 * tokens, sizeof *c->log);
        c->log[0] = number_after(head, "\r\nx-request-id:", -1);
        c->log[1] = arrival;
        c->log[2] = c->start;
    }
    schedule(fd, due_of(c, 0, c->start));
}

static void handle(int fd, char *head, char *body, int64_t arrival) {
    char text[EVENT_SIZE];
    connections[fd].closes = strcasestr(head, "\r\nconnection: close") != NULL;
    if (!strncmp(head, "POST /v1/chat/completions", 25)) {
        if (strstr(body, "\"stream\":true") || strstr(body, "\"stream\": true")) {
            begin_stream(fd, head, body, arrival);
            return;
        }
        answer(fd, "200 OK", ONE_TOKEN);
    } else if (!strncmp(head, "GET /v1/models", 14)) {
        snprintf(text, sizeof text, MODELS, owner);
        answer(fd, "200 OK", text);
    } else if (!strncmp(head, "GET /health", 11)) {
        answer(fd, "200 OK", "{}");
    } else {
        answer(fd, "404 Not Found", "{\"error\":{\"message\":\"no such route\"}}");
    }
    if (connections[fd].open && connections[fd].closes && !connections[fd].out_len) drop(fd);
}

static void take_requests(int fd) {
    Connection *c = &connections[fd];
    while (c->open && !c->streaming) {
        c->in = grown(c->in, c->in_len + 1, &c->in_cap, 1);
        c->in[c->in_len] = 0;
        char *end = strstr(c->in, "\r\n\r\n");
        if (!end) return;
        end[2] = 0; /* the head keeps its last line break, the body is searched alone */
        size_t body = (size_t)(end + 4 - c->in);
        long length = number_after(c->in, "\r\ncontent-length:", 0);
        if (c->in_len < body + length) {
            end[2] = '\r';
            return;
        }
        char after = c->in[body + length];
        c->in[body + length] = 0;
        int64_t arrival = log_path ? monotonic_of_wall(c->last_stamp) : 0;
        handle(fd, c->in, c->in + body, arrival);
        if (!c->open) return;
        c->in[body + length] = after;
        c->in_len -= body + length;
        memmove(c->in, c->in + body + length, c->in_len);
    }
}

static void read_from(int fd) {
    Connection *c = &connections[fd];
    c->in = grown(c->in, c->in_len + READ_SIZE, &c->in_cap, 1);
    char control[128];
    struct iovec part = {c->in + c->in_len, READ_SIZE - 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = sizeof control};
    ssize_t got = recvmsg(fd, &message, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        drop(fd);
        return;
    }
    c->last_stamp = clock_ns(CLOCK_REALTIME);
    for (struct cmsghdr *each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each))
        if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SO_TIMESTAMPNS) {
            struct timespec stamp;
            memcpy(&stamp, CMSG_DATA(each), sizeof stamp);
            c->last_stamp = stamp.tv_sec * 1000000000LL + stamp.tv_nsec;
        }
    c->in_len += (size_t)got;
    take_requests(fd);
}

static void accept_all(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
        if (fd < 0) return;
        if (fd >= MAX_FD && !close(fd)) continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connections[fd] = (Connection){.open = 1, .seq = -1};
        watch(fd, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static int listen_and_tell(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on); /* accepted sockets inherit it */
    if (bind(fd, (struct sockaddr *)&address, length) || listen(fd, 4096) ||
        getsockname(fd, (struct sockaddr *)&address, &length)) {
        perror("mock_server");
        exit(1);
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static struct timespec until_due(void) {
    int64_t wait = 100000000; /* a look at `stopping` now and then */
    if (heap_len) {
        int64_t left = heap[0].due - clock_ns(CLOCK_MONOTONIC);
        wait = left < 0 ? 0 : left < wait ? left : wait;
    }
    return (struct timespec){wait / 1000000000, wait % 1000000000};
}

static void serve(int listener) {
    struct epoll_event ready[256];
    while (!stopping) {
        struct timespec wait = until_due();
        int count = epoll_pwait2(epoll_fd, ready, 256, &wait, NULL);
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd;
            if (fd == listener) {
                accept_all(listener);
                continue;
            }
            if (connections[fd].open && ready[i].events & EPOLLOUT) deliver_rest(fd);
            if (connections[fd].open && ready[i].events & ~EPOLLOUT) read_from(fd);
        }
        for (int i = 0; i < BURST && heap_len && heap[0].due <= clock_ns(CLOCK_MONOTONIC); i++)
            send_due(take_first());
    }
}

static void write_log(void) {
    FILE *file = fopen(log_path, "wb");
    if (!file) {
        perror(log_path);
        exit(1);
    }
    for (size_t i = 0; i < logs_len; i++)
        fwrite(logs[i], sizeof **logs, HEADER + 2 * (size_t)logs[i][4], file);
    fclose(file);
}

static void stop(int signal_number) { stopping = signal_number; }

int main(int count, char **arguments) {
    for (int i = 1; i < count; i += 2) {
        const char *name = arguments[i];
        const char *value = i + 1 < count ? arguments[i + 1] : "";
        if (!strcmp(name, "--whole")) whole = 1, i--;
        else if (!strcmp(name, "--ttft-us")) ttft_ns = atoll(value) * 1000;
        else if (!strcmp(name, "--itl-us")) itl_ns = atoll(value) * 1000;
        else if (!strcmp(name, "--tokens")) default_tokens = atoi(value);
        else if (!strcmp(name, "--owner")) owner = value;
        else if (!strcmp(name, "--log")) log_path = value;
        else return fprintf(stderr, "mock_server: unknown option %s\n", name), 2;
    }
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = stop}, NULL);
    prctl(PR_SET_TIMERSLACK, 1000);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_and_tell();
    watch(listener, EPOLL_CTL_ADD, EPOLLIN);
    serve(listener);
    for (int fd = 0; fd < MAX_FD; fd++) keep_log(&connections[fd]);
    if (log_path) write_log();
    return 0;
}
