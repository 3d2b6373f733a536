// How operations of ours tell LibTorch's observers (at::RecordFunction) what they do. Without an
// observer it costs nothing.
#pragma once
#include <ATen/record_function.h>

#include <vector>

namespace tweedie {

/// The argument of RECORD_FUNCTION("tweedie::...", flop(n)): multiplications and additions of the
/// products that the direct method computes.
inline std::vector<c10::IValue> flop(double n) { return {n}; }

/// For the observer's side, when an event starts: its arguments.
c10::ArrayRef<const c10::IValue> inputs_of(const at::RecordFunction& event);

}  // namespace tweedie
