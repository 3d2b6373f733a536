#include "compare_samplers.h"

#include <charconv>
#include <set>

#include "cli.h"
#include "tweedie/data/loader.h"
#include "tweedie/io/grid.h"
#include "tweedie/pipeline/label.h"

namespace tweedie::cli {
namespace {

constexpr int64_t kColumns = 16;

// "heun:18" into the request.
void read_contestant(const std::string& text, GenerateRequest& request) {
  const size_t colon = text.find(':');
  request.sampler = text.substr(0, colon);
  request.steps.reset();
  if (colon == std::string::npos) return;
  int64_t steps = 0;
  const char *from = text.data() + colon + 1, *to = text.data() + text.size();
  const auto [end, error] = std::from_chars(from, to, steps);
  if (error != std::errc() || end != to)
    fail("--compare '{}': expected sampler:steps, such as heun:18", text);
  request.steps = steps;
}

std::vector<std::string> label_of(const Plan& plan, double seconds) {
  return {plan.sampler, formatted("{} steps, {} calls", plan.steps, plan.nfe), duration(seconds)};
}

}  // namespace

void compare_samplers(Model& model, GenerateRequest request, const std::string& list,
                      const std::string& out, int64_t columns, Json facts) {
  struct Contestant {
    GenerateRequest request;
    Plan planned;
  };
  std::vector<Contestant> contestants;
  for (const std::string& text : CLI::detail::split(list, ',')) {
    read_contestant(text, request);
    contestants.push_back({request, plan(model, request)});
  }
  seconds_per_call(model, std::min(request.batch, request.n));  // the first call is slower
  if (columns == 0) columns = std::min(request.n, kColumns);
  std::set<std::string> noted;
  std::vector<LabelledRow> rows;
  Json results = Json::array();
  for (const Contestant& contestant : contestants) {
    for (const std::string& note : contestant.planned.notes)
      if (noted.insert(note).second) notice(note);
    std::vector<Image> images;
    const auto keep = [&](int64_t, const Tensor& raw) {
      for (int64_t i = 0; i < raw.size(0); ++i) images.push_back(to_image(raw[i]));
    };
    ProgressBar bar(contestant.planned.sampler);
    const auto start = std::chrono::steady_clock::now();
    generate(model, contestant.request, contestant.planned,
             {.images = keep, .way = {}, .progress = std::ref(bar)}, interrupts());
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    bar.finish();
    rows.push_back(
        {label_of(contestant.planned, seconds), tile(images, static_cast<int>(columns), 2)});
    results.push_back(description_of(contestant.planned));
    results.back()["seconds"] = seconds;
    print(formatted("{:<14}{:>4} steps {:>5} calls {:>10}", contestant.planned.sampler,
                    contestant.planned.steps, contestant.planned.nfe, duration(seconds)));
  }
  facts.update({{"compare", results}, {"version", TWEEDIE_VERSION}});
  write_image(out, labelled_rows(rows), {{"tweedie", text_of(facts)}});
  print("wrote " + out);
  if (!common.json) return;
  facts["files"] = Json::array({out});
  print_json(facts);
}

}  // namespace tweedie::cli
