// What nearly every source includes, parsed once. LibTorch's network modules stay out: a source
// that sees them takes four times as long, whether it uses them or not (pch_nn.h).
#pragma once
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>
