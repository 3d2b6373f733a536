// What nearly every source includes, parsed once.
#pragma once
#include <fmt/format.h>
#include <torch/torch.h>

#include <nlohmann/json.hpp>
