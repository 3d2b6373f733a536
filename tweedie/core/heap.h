// How a program that runs networks should hold freed memory. A program's choice: the library never
// makes it.
#pragma once
#include <cstdlib>  // defines __GLIBC__

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace tweedie {

/// Keeps freed memory in the process. Activations of a few MB come and go in every layer; glibc
/// would map and unmap them, and the kernel zero every page anew. Call it first thing in main().
inline void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

}  // namespace tweedie
