// The part of the C library that the bindings need: there is no other in a plugin.
#ifndef IASO_STDLIB_H
#define IASO_STDLIB_H
#include <stddef.h>
void *malloc(size_t bytes);
void *realloc(void *old, size_t bytes);
// What malloc did not give is left alone.
void free(void *old);
_Noreturn void abort(void);
#endif
