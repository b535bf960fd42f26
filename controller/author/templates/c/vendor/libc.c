// Memory and strings without a C library. Blocks have the sizes 16, 32, 64, ... bytes; a freed block serves the next request of its size.
// What a run takes is bounded by the host, and is gone with the run.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 65536, SMALLEST = 16, CLASSES = 24 };

// Before every block; 16 bytes, so that the block keeps its alignment.
typedef struct block {
    uint32_t class;
    struct block *next;
    uint64_t unused;
} block;

extern unsigned char __heap_base;
static uintptr_t top, end;
static block *freed[CLASSES];

static block *fresh(size_t bytes)
{
    if (top == 0)
        top = ((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15;
    if (end == 0)
        end = __builtin_wasm_memory_size(0) * PAGE;
    if (bytes > end - top) {
        size_t pages = (bytes - (end - top) + PAGE - 1) / PAGE;
        if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1)
            return NULL;
        end += pages * PAGE;
    }
    block *at = (block *)top;
    top += bytes;
    return at;
}

void *malloc(size_t bytes)
{
    uint32_t class = 0;
    size_t size = SMALLEST;
    while (size < bytes) {
        if (++class == CLASSES)
            return NULL;
        size *= 2;
    }
    block *at = freed[class];
    if (at)
        freed[class] = at->next;
    else if (!(at = fresh(sizeof(block) + size)))
        return NULL;
    at->class = class;
    return at + 1;
}

void free(void *old)
{
    if ((uintptr_t)old < (uintptr_t)&__heap_base)
        return;
    block *at = (block *)old - 1;
    at->next = freed[at->class];
    freed[at->class] = at;
}

void *realloc(void *old, size_t bytes)
{
    if (!old)
        return malloc(bytes);
    size_t has = (size_t)SMALLEST << ((block *)old - 1)->class;
    if (bytes <= has)
        return old;
    void *moved = malloc(bytes);
    if (moved) {
        memcpy(moved, old, has);
        free(old);
    }
    return moved;
}

_Noreturn void abort(void)
{
    __builtin_trap();
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    unsigned char *t = to;
    const unsigned char *f = from;
    while (bytes--)
        *t++ = *f++;
    return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
    unsigned char *t = to;
    const unsigned char *f = from;
    if (t < f)
        return memcpy(to, from, bytes);
    while (bytes--)
        t[bytes] = f[bytes];
    return to;
}

void *memset(void *to, int byte, size_t bytes)
{
    unsigned char *t = to;
    while (bytes--)
        *t++ = (unsigned char)byte;
    return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const unsigned char *x = a, *y = b;
    for (; bytes; bytes--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}

size_t strlen(const char *text)
{
    const char *at = text;
    while (*at)
        at++;
    return (size_t)(at - text);
}

int strcmp(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return (unsigned char)*a - (unsigned char)*b;
}
