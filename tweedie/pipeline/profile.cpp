#include "tweedie/pipeline/profile.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/SequenceNumber.h>
#include <c10/core/Allocator.h>
#include <c10/util/Logging.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <fstream>
#include <string_view>
#include <unordered_map>

#include "tweedie/kernels/instruction_set.h"
#include "tweedie/kernels/peak.h"
#include "tweedie/kernels/record.h"

namespace tweedie {
namespace {

using Inputs = c10::ArrayRef<const c10::IValue>;

enum Kind {
  kConv3x3,
  kConv,
  kNorm,
  kAttention,
  kLinear,
  kOptimizer,
  kData,
  kSampler,
  kOther,
  kAside,  // between steps: evaluation, previews, checkpoints
  kKinds
};
constexpr std::array<const char*, kKinds> kNames = {
    "3x3 convolution", "other convolution", "normalisation",      "attention", "linear",
    "optimiser",       "data and noise",    "sampler arithmetic", "other",     "between steps"};
bool is_kernel(int kind) { return kind <= kOptimizer; }
// What happens inside an event of this kind is part of it, whatever its name.
bool is_closed(Kind kind) { return is_kernel(kind) || kind == kAside; }

double said(Inputs in) { return in[0].toDouble(); }  // kernels/record.h

// input, filter, bias, stride, padding, dilation
double of_convolution(Inputs in) {
  const at::Tensor &x = in[0].toTensor(), &filter = in[1].toTensor();
  const auto stride = in[3].toIntVector(), pad = in[4].toIntVector(), gap = in[5].toIntVector();
  double places = double(x.size(0));
  for (int64_t d = 2; d < x.dim(); ++d) {
    const auto at = [d](const auto& list) { return list.size() == 1 ? list[0] : list[d - 2]; };
    const int64_t reach = at(gap) * (filter.size(d) - 1) + 1;
    places *= double((x.size(d) + 2 * at(pad) - reach) / at(stride) + 1);
  }
  return 2 * places * double(filter.numel());
}

// gradient, input, filter, ..., which gradients are wanted: input, filter, bias
double of_convolution_backward(Inputs in) {
  const at::Tensor &dy = in[0].toTensor(), &filter = in[2].toTensor();
  const c10::List<bool> wanted = in[10].toBoolList();
  return 2.0 * (int(wanted[0]) + int(wanted[1])) * double(dy.numel() / dy.size(1)) *
         double(filter.numel());
}

double product(const at::Tensor& a, const at::Tensor& b) {
  return 2 * double(a.numel()) * double(b.size(-1));
}
double of_mm(Inputs in) { return product(in[0].toTensor(), in[1].toTensor()); }
double of_addmm(Inputs in) { return product(in[1].toTensor(), in[2].toTensor()); }

// q [N,heads,tokens,dim], k: two products
double of_attention(Inputs in) {
  return 4 * double(in[0].toTensor().numel()) * double(in[1].toTensor().size(-2));
}
// The same after the gradient of the output: four.
double of_attention_backward(Inputs in) { return 2 * of_attention(in.slice(1)); }

// Where among the inputs filter and stride are.
template <int filter, int stride>
Kind convolution(Inputs in) {
  const at::IntArrayRef sides = in[filter].toTensor().sizes().slice(2);
  for (const int64_t side : sides)
    if (side != 3) return kConv;
  for (const int64_t step : in[stride].toIntVector())
    if (step != 1) return kConv;
  return kConv3x3;
}
// nn's layer. Of 1x1 it is a product; what is done around one of 3x3 is known by its own name.
Kind conv_layer(Inputs in) { return in[1].toTensor().size(2) == 1 ? kConv : kOther; }

struct Known {
  Kind kind;
  double (*flop)(Inputs) = nullptr;  // of all that happens inside
  Kind (*choose)(Inputs) = nullptr;  // in place of `kind`
};

const std::unordered_map<std::string_view, Known>& known() {
  static const std::unordered_map<std::string_view, Known> table = {
      {"tweedie::network", {kOther}},
      {"tweedie::sampler", {kSampler}},
      {"tweedie::data", {kData}},
      {"tweedie::aside", {kAside}},
      {"tweedie::optimizer", {kOptimizer}},
      {"tweedie::conv3x3", {kConv3x3, said}},
      {"tweedie::conv3x3_backward", {kConv3x3, said}},
      {"tweedie::conv3x3_filter", {kConv3x3}},
      {"tweedie::conv", {kConv, nullptr, conv_layer}},
      {"tweedie::conv3x3_patches", {kConv3x3, said}},
      {"tweedie::conv_patches", {kConv, said}},
      {"tweedie::group_norm", {kNorm}},
      {"tweedie::group_norm_statistics", {kNorm}},
      {"tweedie::group_norm_backward", {kNorm}},
      {"tweedie::linear", {kLinear, said}},
      {"tweedie::linear_backward", {kLinear, said}},
      {"tweedie::self_attention", {kAttention, said}},
      {"tweedie::self_attention_backward", {kAttention, said}},
      {"aten::convolution", {kConv, of_convolution, convolution<1, 3>}},
      {"aten::convolution_backward", {kConv, of_convolution_backward, convolution<2, 4>}},
      {"aten::group_norm", {kNorm}},
      {"aten::native_group_norm_backward", {kNorm}},
      {"aten::scaled_dot_product_attention", {kAttention}},
      {"aten::_scaled_dot_product_flash_attention_for_cpu", {kAttention, of_attention}},
      {"aten::_scaled_dot_product_flash_attention_for_cpu_backward",
       {kAttention, of_attention_backward}},
      {"aten::linear", {kLinear}},
      {"aten::mm", {kLinear, of_mm}},
      {"aten::bmm", {kLinear, of_mm}},
      {"aten::addmm", {kLinear, of_addmm}},
      {"aten::baddbmm", {kLinear, of_addmm}},
  };
  return table;
}

int64_t resident_bytes() {
  int64_t all = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

struct Counters {
  std::array<double, kKinds> seconds{}, flop{};
  int64_t allocations = 0, allocated = 0;
};

}  // namespace

// Also what LibTorch's allocator reports to.
struct Profile::State : c10::MemoryReportingInfoBase {
  using Clock = std::chrono::steady_clock;
  struct Frame {
    Kind kind;
    bool counted;    // its FLOP are in those of an event around it
    uint64_t nodes;  // of autograd before it
  };

  // Time until now belongs to the innermost event.
  void charge() {
    const Clock::time_point now = Clock::now();
    running.seconds[open.back().kind] += std::chrono::duration<double>(now - since).count();
    since = now;
  }

  void enter(const at::RecordFunction& fn) {
    charge();
    Frame frame = open.back();
    frame.nodes = at::sequence_number::peek();
    const auto found = known().find(fn.name());
    const Known* is = found == known().end() ? nullptr : &found->second;
    if (is && !is_closed(frame.kind))
      frame.kind = is->choose ? is->choose(inputs_of(fn)) : is->kind;
    if (fn.scope() == at::RecordScope::BACKWARD_FUNCTION)
      if (const auto node = node_kinds.find(uint64_t(fn.seqNr())); node != node_kinds.end())
        frame.kind = node->second;
    if (is && is->flop && !frame.counted) {
      running.flop[frame.kind] += is->flop(inputs_of(fn));
      frame.counted = true;
    }
    open.push_back(frame);
  }

  void leave() {
    charge();
    if (open.size() == 1) return;
    // The nodes it made do their part of the backward pass for the same kind.
    for (uint64_t node = open.back().nodes; node < at::sequence_number::peek(); ++node)
      node_kinds.emplace(node, open.back().kind);
    open.pop_back();
  }

  void reportMemoryUsage(void*, int64_t bytes, size_t, size_t, c10::Device) override {
    live += bytes;  // negative when memory is freed
    if (bytes < 0 || open.back().kind == kAside) return;
    running.allocations += 1, running.allocated += bytes;
  }
  bool memoryProfilingEnabled() const override { return true; }

  static thread_local State* active;
  std::vector<Frame> open = {{kOther, false, 0}};
  Clock::time_point since = Clock::now();
  std::unordered_map<uint64_t, Kind> node_kinds;  // of a step's, by autograd's number
  Counters running, kept;                         // since the first step; until the last
  int64_t steps = 0, live = 0, live_early = 0, live_last = 0;
  int64_t resident_early = 0, resident_last = 0;
  double peak = 0;
  at::CallbackHandle handle = 0;
  int log_level = FLAGS_caffe2_log_level;
};
thread_local Profile::State* Profile::State::active = nullptr;

Profile::Profile() : state_(std::make_shared<State>()) {
  TORCH_CHECK(!State::active, "a thread has one profile at a time");
  State& s = *state_;
  s.peak = kernels::measure_peak(at::get_num_threads(), 0.05, kernels::on_torch_threads);
  State::active = &s;
  const auto start = [](const at::RecordFunction& fn) -> std::unique_ptr<at::ObserverContext> {
    State::active->enter(fn);
    return nullptr;
  };
  const auto end = [](const at::RecordFunction&, at::ObserverContext*) { State::active->leave(); };
  s.handle = at::addThreadLocalCallback(at::RecordFunctionCallback(start, end).needsInputs(true));
  FLAGS_caffe2_log_level = c10::GLOG_ERROR;  // no warnings of memory that was there before
  c10::ThreadLocalDebugInfo::_push(c10::DebugInfoKind::PROFILER_STATE, state_);
}

Profile::~Profile() {
  c10::ThreadLocalDebugInfo::_pop(c10::DebugInfoKind::PROFILER_STATE);
  at::removeCallback(state_->handle);
  FLAGS_caffe2_log_level = state_->log_level;
  State::active = nullptr;
}

void Profile::step() {
  State& s = *state_;
  s.charge();
  s.node_kinds.clear();
  s.live_last = s.live, s.resident_last = resident_bytes();
  s.steps += 1;
  if (s.steps == 1) s.running = {};
  if (s.steps <= 2) s.live_early = s.live_last, s.resident_early = s.resident_last;
  s.kept = s.running;
}

ProfileReport Profile::report() const {
  const State& s = *state_;
  ProfileReport out{.steps = std::max<int64_t>(0, s.steps - 1),
                    .threads = at::get_num_threads(),
                    .instruction_set = kernels::instruction_set(),
                    .peak = s.peak,
                    .growth = s.live_last - s.live_early,
                    .resident_early = s.resident_early,
                    .resident_last = s.resident_last};
  for (int kind = 0; kind < kKinds; ++kind) {
    out.rows.push_back({kNames[kind], is_kernel(kind), s.kept.seconds[kind], s.kept.flop[kind]});
    out.seconds += s.kept.seconds[kind];
  }
  if (out.steps > 0) {
    out.allocations = double(s.kept.allocations) / double(out.steps);
    out.allocated_bytes = double(s.kept.allocated) / double(out.steps);
  }
  return out;
}

double ProfileReport::kernel_seconds() const {
  double sum = 0;
  for (const ProfileRow& row : rows)
    if (row.kernel) sum += row.seconds;
  return sum;
}

std::vector<std::string> ProfileReport::lines() const {
  if (steps == 0)
    return {"profile     nothing: the first step is the warm-up and there was no other"};
  const auto line = [&](const std::string& kind, double took, double flop) {
    std::string text = formatted("{:<20} {:>9.3f} {:>6.1f}%", kind, took, 100 * took / seconds);
    if (flop > 0)
      text += formatted(" {:>9.1f} {:>8.1f}%", 1e-9 * flop / took, 100 * flop / took / peak);
    return text;
  };
  std::vector<std::string> out = {
      formatted("profile of {} steps, {:.4g} s each, after one of warm-up; {} threads, {}, at most "
                "{:.0f} GFLOP/s in float32",
                steps, seconds / double(steps), threads, instruction_set, 1e-9 * peak),
      formatted("{:<20} {:>9} {:>7} {:>9} {:>9}", "", "seconds", "share", "GFLOP/s", "of peak")};
  double flop = 0;
  for (const ProfileRow& row : rows) {
    if (row.seconds > 5e-4 * seconds) out.push_back(line(row.kind, row.seconds, row.flop));
    flop += row.flop;
  }
  out.push_back(line("all", seconds, flop));
  out.push_back(line("in the kernels", kernel_seconds(), flop));
  out.push_back(formatted(
      "tensors: {:.0f} allocations and {:.1f} MB a step, {} bytes more after the last step than "
      "after the second",
      allocations, 1e-6 * allocated_bytes, growth));
  out.push_back(
      formatted("process: {:.1f} MB in memory after the second step, {:.1f} after the last",
                1e-6 * double(resident_early), 1e-6 * double(resident_last)));
  return out;
}

Json ProfileReport::json() const {
  Json kinds = Json::array();
  for (const ProfileRow& row : rows)
    kinds.push_back({{"kind", row.kind},
                     {"in_kernels", row.kernel},
                     {"seconds", row.seconds},
                     {"flop", row.flop}});
  return {{"steps", steps},
          {"seconds", seconds},
          {"kernel_seconds", kernel_seconds()},
          {"threads", threads},
          {"instruction_set", instruction_set},
          {"peak_flop_per_second", peak},
          {"kinds", kinds},
          {"allocations_per_step", allocations},
          {"allocated_bytes_per_step", allocated_bytes},
          {"growth_bytes", growth},
          {"resident_bytes_after_step_2", resident_early},
          {"resident_bytes_at_end", resident_last}};
}

}  // namespace tweedie
