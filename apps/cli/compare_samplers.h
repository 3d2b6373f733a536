// tweedie sample --compare.
#pragma once
#include "tweedie/pipeline/generate.h"

namespace tweedie::cli {

/// Draws the request's images by each of `list` ("ddim:50,unipc:10": sampler:steps, the steps may
/// be left out) and writes them to `out`, a labelled row a sampler, with the time each took.
/// `facts`: what the request is about, for the JSON.
void compare_samplers(Model& model, GenerateRequest request, const std::string& list,
                      const std::string& out, int64_t columns, Json facts);

}  // namespace tweedie::cli
