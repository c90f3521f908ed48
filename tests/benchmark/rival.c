/*
 * The physical limit: an extension that registers, subscribes and asks for the next event, and does nothing else.
 *
 * It binds a socket so that the subscription is a real one, and never serves it. It ends at SHUTDOWN, or when the
 * connection breaks. Each request leaves in one write.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char answer[65536];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* Send a request, read one answer whole (head, then Content-Length bytes), return where its body starts. */
static const char *call(int api, const char *request) {
    size_t have = 0;
    if (write(api, request, strlen(request)) < 0) fail("write");
    for (;;) {
        ssize_t got = read(api, answer + have, sizeof answer - 1 - have);
        if (got <= 0) fail("read");
        answer[have += (size_t)got] = 0;
        const char *end = strstr(answer, "\r\n\r\n"), *length = strstr(answer, "Content-Length: ");
        if (end && length && have >= (size_t)(end + 4 - answer) + strtoul(length + 16, 0, 10)) return end + 4;
    }
}

int main(void) {
    const char *where = getenv("AWS_LAMBDA_RUNTIME_API"), *colon = where ? strrchr(where, ':') : 0;
    struct sockaddr_in address = {.sin_family = AF_INET}, own = {.sin_family = AF_INET};
    socklen_t size = sizeof own;
    char request[1024], body[512], host[64], identifier[64] = "";
    int one = 1, api = socket(AF_INET, SOCK_STREAM, 0), listener = socket(AF_INET, SOCK_STREAM, 0);

    if (!colon || colon - where >= (long)sizeof host) return 2;
    snprintf(host, sizeof host, "%.*s", (int)(colon - where), where);
    address.sin_port = htons((unsigned short)atoi(colon + 1));
    inet_pton(AF_INET, host, &address.sin_addr);
    if (bind(listener, (struct sockaddr *)&own, sizeof own) || listen(listener, 8)) fail("listen");
    getsockname(listener, (struct sockaddr *)&own, &size);
    if (connect(api, (struct sockaddr *)&address, sizeof address)) fail("connect");
    setsockopt(api, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);

    snprintf(body, sizeof body, "{\"events\":[\"INVOKE\",\"SHUTDOWN\"]}");
    snprintf(request, sizeof request,
             "POST /2020-01-01/extension/register HTTP/1.1\r\nHost: %s\r\nLambda-Extension-Name: rival\r\n"
             "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", where, strlen(body), body);
    call(api, request);
    const char *header = strstr(answer, "Lambda-Extension-Identifier: ");
    if (header) sscanf(header + 29, "%63[0-9a-f-]", identifier);

    snprintf(body, sizeof body,
             "{\"schemaVersion\":\"2022-12-13\",\"types\":[\"platform\",\"function\"],\"buffering\":{\"maxItems\":1000,"
             "\"maxBytes\":262144,\"timeoutMs\":25},\"destination\":{\"protocol\":\"HTTP\","
             "\"URI\":\"http://sandbox.localdomain:%d\"}}", ntohs(own.sin_port));
    snprintf(request, sizeof request,
             "PUT /2022-07-01/telemetry HTTP/1.1\r\nHost: %s\r\nLambda-Extension-Identifier: %s\r\n"
             "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", where, identifier, strlen(body), body);
    call(api, request);

    snprintf(request, sizeof request,
             "GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: %s\r\nLambda-Extension-Identifier: %s\r\n\r\n",
             where, identifier);
    while (!strstr(call(api, request), "\"SHUTDOWN\"")) continue;
    return 0;
}
