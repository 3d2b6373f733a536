// A module's parameters and buffers by name, as they stand in a file.
#pragma once
#include <torch/nn/module.h>

#include <map>
#include <string>

namespace tweedie {

using at::Tensor;

/// Parameters and buffers; they share storage with the module.
std::map<std::string, Tensor> state_of(const torch::nn::Module& module);

int64_t parameter_count(const torch::nn::Module& module);

/// Copies `state` into the module, float16, bfloat16 and float64 converted. Takes the names that
/// weights had in older diffusers too (query, key, value, proj_attn; time_steps, mid,
/// *sample_blocks; duplicates *.op.*; attention weights [C,C,1,1]). Throws Error, before anything
/// is changed, that names `source` and the first few entries that are missing, extra, of another
/// shape or not floating point.
void load_state(torch::nn::Module& module, std::map<std::string, Tensor> state,
                const std::string& source);

}  // namespace tweedie
