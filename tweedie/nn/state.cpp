#include "tweedie/nn/state.h"

#include <ATen/ATen.h>

#include "tweedie/core/error.h"

namespace tweedie {
namespace {

using State = std::map<std::string, Tensor>;

bool replace(std::string& text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  if (at == std::string::npos) return false;
  text.replace(at, from.size(), to);
  return true;
}

bool starts_with(const std::string& text, std::string_view prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

// The name an entry has today, or "" for a duplicate that is to be dropped.
std::string modern_name(std::string name, const State& state) {
  if (std::string twin = name; replace(twin, ".op.", ".conv."))
    return state.count(twin) ? "" : modern_name(twin, state);
  if (starts_with(name, "time_steps.")) replace(name, "time_steps.", "time_proj.");
  if (starts_with(name, "mid.")) replace(name, "mid.", "mid_block.");
  if (starts_with(name, "downsample_blocks.")) replace(name, "downsample_blocks.", "down_blocks.");
  if (starts_with(name, "upsample_blocks.")) replace(name, "upsample_blocks.", "up_blocks.");
  if (name.find("attentions.") == std::string::npos) return name;
  replace(name, ".query.", ".to_q.") || replace(name, ".key.", ".to_k.") ||
      replace(name, ".value.", ".to_v.") || replace(name, ".proj_attn.", ".to_out.0.");
  return name;
}

std::string shape(const Tensor& t) { return formatted("[{}]", fmt::join(t.sizes(), ",")); }

// "3 missing (a, b, c)"; "" if there are none.
std::string list(const std::vector<std::string>& names, const char* what) {
  if (names.empty()) return "";
  const size_t shown = std::min<size_t>(names.size(), 3);
  return formatted("{} {} ({}{})", names.size(), what,
                   fmt::join(names.begin(), names.begin() + shown, ", "),
                   names.size() > shown ? ", ..." : "");
}

}  // namespace

State state_of(const torch::nn::Module& module) {
  State state;
  for (const auto& item : module.named_parameters()) state[item.key()] = item.value().detach();
  for (const auto& item : module.named_buffers()) state[item.key()] = item.value().detach();
  return state;
}

int64_t parameter_count(const torch::nn::Module& module) {
  int64_t count = 0;
  for (const Tensor& parameter : module.parameters()) count += parameter.numel();
  return count;
}

void load_state(torch::nn::Module& module, State state, const std::string& source) {
  const State own = state_of(module);
  std::vector<std::string> missing, extra, wrong_shape, wrong_type;
  State found;
  for (const auto& [name, tensor] : state) {
    const std::string today = own.count(name) ? name : modern_name(name, state);
    if (today.empty()) continue;
    const auto target = own.find(today);
    if (target == own.end() || found.count(today)) {
      extra.push_back(name);
      continue;
    }
    Tensor value = tensor;
    if (value.dim() == 4 && target->second.dim() == 2 && value.size(2) == 1 && value.size(3) == 1)
      value = value.flatten(1);
    if (!value.is_floating_point()) {
      wrong_type.push_back(formatted("{} is {}", name, c10::toString(value.scalar_type())));
    } else if (value.sizes() != target->second.sizes()) {
      wrong_shape.push_back(
          formatted("{} is {}, not {}", name, shape(value), shape(target->second)));
    }
    found[today] = value;
  }
  for (const auto& [name, tensor] : own)
    if (!found.count(name)) missing.push_back(name);

  std::vector<std::string> faults;
  for (const std::string& fault :
       {list(missing, "missing"), list(extra, "extra"), list(wrong_shape, "of another shape"),
        list(wrong_type, "not floating point")})
    if (!fault.empty()) faults.push_back(fault);
  if (!faults.empty())
    fail("{}: the weights do not fit the network: {}", source, fmt::join(faults, "; "));

  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : own) tensor.copy_(found.at(name));
}

}  // namespace tweedie
