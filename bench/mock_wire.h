/* What mock_server.c says: OpenAI chat completions as vLLM words them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVENT_SIZE = 1024 };

static const char HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char MODELS[] =
    "{\"object\":\"list\",\"data\":[{\"id\":\"mock\",\"object\":\"model\","
    "\"created\":1700000000,\"owned_by\":\"%s\",\"max_model_len\":32768}]}";
static const char ONE_TOKEN[] =
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,"
    "\"model\":\"mock\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
    "\"content\":\" token\"},\"finish_reason\":\"length\"}],\"usage\":{"
    "\"prompt_tokens\":16,\"total_tokens\":17,\"completion_tokens\":1}}";
static const char STREAM_ID[] =
    "\"id\":\"chatcmpl-0123456789abcdef0123456789abcdef\",\"object\":\"chat.completion.chunk\","
    "\"created\":1700000000,\"model\":\"mock\"";

/* Event 0 is the role, 1 to `tokens` are content, then usage, then [DONE]. */
static int event_text(char *to, int index, int tokens, int usage_each) {
    char usage[120] = "";
    int made = index > tokens ? tokens : index;
    if (usage_each || index == tokens + 1)
        snprintf(usage, sizeof usage,
                 ",\"usage\":{\"prompt_tokens\":16,\"total_tokens\":%d,\"completion_tokens\":%d}",
                 16 + made, made);
    if (index == tokens + 2) return sprintf(to, "data: [DONE]\n\n");
    if (index == tokens + 1)
        return sprintf(to, "data: {%s,\"choices\":[]%s}\n\n", STREAM_ID, usage);
    return sprintf(to,
                   "data: {%s,\"choices\":[{\"index\":0,\"delta\":{%s},\"logprobs\":null,"
                   "\"finish_reason\":%s,\"token_ids\":null}]%s}\n\n",
                   STREAM_ID,
                   index ? "\"content\":\" token\"" : "\"role\":\"assistant\",\"content\":\"\"",
                   index == tokens ? "\"length\"" : "null", usage);
}

/* The event as one chunk of HTTP/1.1, with the last chunk behind the last event. */
static int event_bytes(char *to, int index, int tokens, int usage_each) {
    char text[EVENT_SIZE];
    int length = event_text(text, index, tokens, usage_each);
    return sprintf(to, "%x\r\n%.*s\r\n%s", length, length, text,
                   index == tokens + 2 ? "0\r\n\r\n" : "");
}

/* The number behind `key`, a header with its colon or a quoted JSON key with its. */
static long number_after(const char *text, const char *key, long otherwise) {
    const char *at = strcasestr(text, key);
    return at ? strtol(at + strlen(key), NULL, 10) : otherwise;
}
