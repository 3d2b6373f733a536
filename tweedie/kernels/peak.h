// How fast the machine multiplies and adds at best.
#pragma once
#include "tweedie/kernels/parallel.h"

namespace tweedie::kernels {

/// FLOP/s of float32 multiply-adds (2 FLOP each) that never leave the registers, on `threads`
/// threads at once in the instruction set in use. Takes about `seconds`.
double measure_peak(int threads, double seconds, const ParallelFor& parallel);

}  // namespace tweedie::kernels
