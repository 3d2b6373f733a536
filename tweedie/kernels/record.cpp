// Compiled with NDEBUG, as LibTorch is: without it the header looks at a flag that LibTorch never
// set.
#include "tweedie/kernels/record.h"

namespace tweedie {

c10::ArrayRef<const c10::IValue> inputs_of(const at::RecordFunction& event) {
  return event.inputs();
}

}  // namespace tweedie
