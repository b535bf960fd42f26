// What a check in C is written with, over the bindings that `iaso plugin build` makes of wit/: build/bindings/plugin.h.
#ifndef IASO_H
#define IASO_H
#include "plugin.h"
#include <stdlib.h>
#include <string.h>

// Memory, or the end of the run.
static inline void *iaso_memory(size_t bytes)
{
    void *got = malloc(bytes);
    if (!got)
        abort();
    return got;
}

// Both texts in one.
static inline const char *iaso_join(const char *a, const char *b)
{
    size_t one = strlen(a), two = strlen(b);
    char *text = iaso_memory(one + two + 1);
    memcpy(text, a, one);
    memcpy(text + one, b, two + 1);
    return text;
}

static inline const char *iaso_decimal(uint64_t number)
{
    char *text = iaso_memory(21), *at = text + 20;
    *at = 0;
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    return at;
}

// A text of the host's, ended as C wants it.
static inline const char *iaso_text(const plugin_string_t *given)
{
    char *text = iaso_memory(given->len + 1);
    memcpy(text, given->ptr, given->len);
    text[given->len] = 0;
    return text;
}

// Why a capability did not answer, for a person.
static inline const char *iaso_why(const iaso_plugin_types_error_t *why)
{
    switch (why->tag) {
    case IASO_PLUGIN_TYPES_ERROR_DENIED: return iaso_join("denied: ", iaso_text(&why->val.denied));
    case IASO_PLUGIN_TYPES_ERROR_TIMEOUT: return "out of time";
    case IASO_PLUGIN_TYPES_ERROR_TOO_LARGE: return iaso_join("too large: ", iaso_text(&why->val.too_large));
    case IASO_PLUGIN_TYPES_ERROR_UNAVAILABLE: return iaso_join("unavailable: ", iaso_text(&why->val.unavailable));
    default: return iaso_text(&why->val.other);
    }
}

static inline bool iaso_is(const plugin_string_t *given, const char *text)
{
    return given->len == strlen(text) && memcmp(given->ptr, text, given->len) == 0;
}

// False, and an error that names the key, when the configuration has one that is not known.
static inline bool iaso_known_keys(const iaso_plugin_types_attributes_t *config, const char *const *keys, size_t count, plugin_string_t *error)
{
    for (size_t i = 0; i < config->len; i++) {
        bool known = false;
        for (size_t k = 0; k < count; k++)
            known |= iaso_is(&config->ptr[i].f0, keys[k]);
        if (!known) {
            plugin_string_dup(error, iaso_join("unknown key: ", iaso_text(&config->ptr[i].f0)));
            return false;
        }
    }
    return true;
}

// Reads a whole number from `least` to `most`; a key that is not there leaves `number` as it is.
static inline bool iaso_number(const iaso_plugin_types_attributes_t *config, const char *key, uint64_t least, uint64_t most, uint64_t *number,
                               plugin_string_t *error)
{
    for (size_t i = 0; i < config->len; i++) {
        const plugin_string_t *given = &config->ptr[i].f1;
        if (!iaso_is(&config->ptr[i].f0, key))
            continue;
        uint64_t read = 0;
        // 18 digits are always small enough.
        bool good = given->len > 0 && given->len <= 18;
        for (size_t d = 0; good && d < given->len; d++) {
            good = given->ptr[d] >= '0' && given->ptr[d] <= '9';
            read = read * 10 + (given->ptr[d] - '0');
        }
        if (!good || read < least || read > most) {
            const char *range = iaso_join(iaso_decimal(least), iaso_join(" to ", iaso_decimal(most)));
            plugin_string_dup(error, iaso_join(key, iaso_join(" must be a whole number from ", range)));
            return false;
        }
        *number = read;
    }
    return true;
}

// Adds a finding to the list, which is empty at first.
static inline void iaso_add(exports_iaso_plugin_check_list_finding_t *found, const char *code, const char *severity, const char *subject,
                            const char *summary)
{
    if (found->len == 0)
        found->ptr = NULL;
    exports_iaso_plugin_check_finding_t *all = realloc(found->ptr, (found->len + 1) * sizeof *all);
    if (!all)
        abort();
    found->ptr = all;
    exports_iaso_plugin_check_finding_t *one = &all[found->len++];
    memset(one, 0, sizeof *one);
    plugin_string_dup(&one->code, code);
    plugin_string_dup(&one->severity, severity);
    plugin_string_dup(&one->subject, subject);
    plugin_string_dup(&one->summary, summary);
}
#endif
