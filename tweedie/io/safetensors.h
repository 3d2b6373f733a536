// The safetensors format: https://github.com/huggingface/safetensors, every rule of it checked.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

namespace tweedie {

using at::Tensor;
using TensorMap = std::map<std::string, Tensor>;

/// Tensors by name. They are views of a private mapping of the file where alignment allows it,
/// which lives as long as any of them: writing into one copies the page and never reaches the file.
/// Do not change the file in place meanwhile (replacing it, as all writers here do, is fine). Types
/// LibTorch lacks kernels for (F8_*) arrive as LibTorch has them. Throws Error (user) naming the
/// file and what is wrong for a truncated, overlapping, duplicate, oversized or otherwise hostile
/// header.
TensorMap read_safetensors(const std::filesystem::path& file,
                           std::map<std::string, std::string>* metadata = nullptr);

/// Writes through a temporary file, fsync and rename. Tensors may be on any device and of any
/// strides. Metadata defaults to {"format": "pt"}, which Python's diffusers expects.
void write_safetensors(const std::filesystem::path& file, const TensorMap& tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

}  // namespace tweedie
