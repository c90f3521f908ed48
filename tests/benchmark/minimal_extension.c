/*
 * The minimal extension: it registers, subscribes and requests events, and does nothing else. It is the
 * physical limit for the start of an extension.
 *
 * It binds a socket so that the subscription is valid, and never serves it. It ends at SHUTDOWN, or when
 * the connection breaks. Each request is sent in one write.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char response[65536];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* Send a request, read one complete response (head and Content-Length bytes), return the start of its body. */
static const char *call(int api, const char *request) {
    size_t have = 0;
    if (write(api, request, strlen(request)) < 0) fail("write");
    for (;;) {
        ssize_t got = read(api, response + have, sizeof response - 1 - have);
        if (got <= 0) fail("read");
        response[have += (size_t)got] = 0;
        const char *end = strstr(response, "\r\n\r\n"), *length = strstr(response, "Content-Length: ");
        if (end && length && have >= (size_t)(end + 4 - response) + strtoul(length + 16, 0, 10)) return end + 4;
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
             "POST /2020-01-01/extension/register HTTP/1.1\r\nHost: %s\r\nLambda-Extension-Name: minimal\r\n"
             "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", where, strlen(body), body);
    call(api, request);
    const char *header = strstr(response, "Lambda-Extension-Identifier: ");
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
