// tweedie evaluate: how good a model is, in figures.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "cli.h"
#include "tweedie/io/files.h"
#include "tweedie/pipeline/chart.h"
#include "tweedie/pipeline/evaluate.h"
#include "tweedie/process/timesteps.h"

namespace tweedie::cli {
namespace {

struct EvaluateFlags {
  std::string model, metrics = "bpd", plot, table, out, estimator = "closed", labels = "data";
  EvaluateRequest request;
  bool force = false;
};
using Metrics = std::vector<std::string>;

bool holds(const Metrics& metrics, const std::string& name) {
  return std::find(metrics.begin(), metrics.end(), name) != metrics.end();
}

Json numbers(const std::vector<double>& values) {
  Json list = Json::array();
  for (const double value : values) list.push_back(std::isfinite(value) ? Json(value) : Json());
  return list;
}

Json json_of(const EvaluateResult& e) {
  const Bpd& bpd = e.bpd;
  Json json = {{"bpd", bpd.total},
               {"bpd_stderr", bpd.image_stderr},
               {"bpd_estimator_stderr", numbers({bpd.estimator_stderr})[0]},
               {"bpd_prior", bpd.prior},
               {"bpd_decoder", bpd.decoder},
               {"bpd_vlb", numbers(bpd.vlb)},
               {"bpd_draws", bpd.draws},
               {"bpd_method", e.method},
               {"timesteps", e.timesteps},
               {"n", bpd.images},
               {"t_per_image", bpd.t_per_image}};
  if (bpd.variance_ratio.empty()) return json;
  json["bpd_monte_carlo"] = bpd.monte_carlo_total;
  json["variance_ratio"] = numbers(bpd.variance_ratio);
  return json;
}

Json json_of(const OdeResult& e) {
  const OdeBpd& bpd = e.bpd;
  return {{"bpd_ode", bpd.total},
          {"bpd_ode_stderr", bpd.image_stderr},
          {"bpd_ode_density", bpd.density},
          {"bpd_ode_decoder", bpd.decoder},
          {"bpd_ode_method", e.method},
          {"bpd_ode_calls", bpd.calls},
          {"n", bpd.images}};
}

void print_ode(const OdeResult& e) {
  print(e.method);
  print(formatted(
      "bits/dim     {:.4f}   standard error {:.4f} over {} images: density {:.4f}, "
      "back to the levels {:.4f}; {} calls of the network an image",
      e.bpd.total, e.bpd.image_stderr, e.bpd.images, e.bpd.density, e.bpd.decoder, e.bpd.calls));
}

// "-" where nothing was drawn.
std::string figure(double value) { return std::isfinite(value) ? formatted("{:.4f}", value) : "-"; }

// The terms over t in parts that grow threefold, as the terms fall: what each adds, by the mean of
// its drawn steps.
void print_table(const Bpd& bpd) {
  const int64_t steps = static_cast<int64_t>(bpd.vlb.size());
  const char* ratios = "  variance by one draw / closed form, geometric mean over steps";
  print(formatted("{:>12}  {:>10}{}", "t", "bits/dim", bpd.variance_ratio.empty() ? "" : ratios));
  // Edges 1, 3, 10, 30, 100, ...
  for (int64_t from = 1, to = 0, decade = 1; from < steps; from = to) {
    to = std::min(from == decade ? 3 * decade : 10 * decade, steps);
    if (from != decade) decade *= 10;
    double mean = 0, ratio = 0;
    int64_t drawn = 0, compared = 0;
    for (int64_t k = from; k < to; ++k) {
      if (std::isfinite(bpd.vlb[k])) mean += bpd.vlb[k], ++drawn;
      if (bpd.variance_ratio.empty() || !std::isfinite(bpd.variance_ratio[k])) continue;
      ratio += std::log(bpd.variance_ratio[k]), ++compared;
    }
    const double sum = mean / static_cast<double>(drawn) * static_cast<double>(to - from);
    std::string line = formatted("{:>12}  {:>10}", formatted("{}..{}", from + 1, to), figure(sum));
    if (compared)
      line +=
          formatted("  {:.3g} over {}", std::exp(ratio / static_cast<double>(compared)), compared);
    print(line);
  }
  if (!bpd.variance_ratio.empty()) print("each t by itself: --table FILE.csv, or --json");
  if (std::isfinite(bpd.estimator_stderr))
    print(
        "a row is the mean term of its drawn steps times how many steps it has; the total weighs "
        "each draw by itself, so the rows need not add up to it");
}

// A row a t; empty where nothing was drawn.
void write_table(const std::string& file, const Bpd& bpd) {
  const auto cell = [](double value) {
    return std::isfinite(value) ? formatted("{}", value) : std::string();
  };
  std::string text = "t,bits_per_dim,draws,variance_ratio\n";
  for (size_t k = 0; k < bpd.vlb.size(); ++k)
    text += formatted("{},{},{},{}\n", k + 1, cell(bpd.vlb[k]), bpd.draws[k],
                      bpd.variance_ratio.empty() ? "" : cell(bpd.variance_ratio[k]));
  write_file(file, text);
}

void write_plot(const std::string& file, const EvaluateResult& e) {
  Chart::Series terms{.name = "L_(t-1), and L_0 at t = 1"};
  for (size_t k = 0; k < e.bpd.vlb.size(); ++k)
    if (std::isfinite(e.bpd.vlb[k]))
      terms.points.emplace_back(static_cast<double>(k + 1), e.bpd.vlb[k]);
  Chart chart{.title = "Terms of the variational bound",
              .x_label = "t",
              .y_label = "bits/dim",
              .log_y = true};
  chart.series.push_back(terms);
  write_chart(file, chart);
}

void print_bound(const EvaluateResult& e) {
  const Bpd& bpd = e.bpd;
  print(e.method);
  print(formatted("L_T          {:.3g}", bpd.prior));
  print_table(bpd);
  print(formatted("L_0          {}", figure(bpd.decoder)));
  print(formatted("bits/dim     {:.4f}   standard error {:.4f} over {} images{}", bpd.total,
                  bpd.image_stderr, bpd.images,
                  std::isfinite(bpd.estimator_stderr)
                      ? formatted(", of which the drawn t and noise {:.4f}", bpd.estimator_stderr)
                      : ""));
  if (!bpd.variance_ratio.empty()) print(formatted("by one draw  {:.4f}", bpd.monte_carlo_total));
}

// A flag that would change nothing is a mistake.
void check_heeded(const CLI::App& verb, const EvaluateFlags& flags, const Metrics& metrics) {
  const EvaluateRequest& request = flags.request;
  const std::pair<const char*, std::vector<const char*>> flags_of[] = {
      {"bpd",
       {"--t-per-image", "--exact", "--estimator", "--steps", "--spacing", "--plot", "--table"}},
      {"bpd_ode", {"--ode-steps", "--divergence", "--probes", "--dequantise"}}};
  for (const auto& [metric, list] : flags_of)
    for (const char* flag : list)
      if (verb.count(flag) && !holds(metrics, metric))
        fail("{}: is about the metric {}, and --metrics is {}", flag, metric, flags.metrics);
  if (verb.count("--t-per-image") && request.bpd.exact)
    fail("--t-per-image {}: --exact takes every step", request.bpd.t_per_image);
  if (request.spacing && !request.steps && !is_respacing(*request.spacing))
    fail("--spacing {}: of a strided chain; --steps says of how many steps", *request.spacing);
  if (verb.count("--probes") && request.ode.ode.divergence != "hutchinson")
    fail("--probes {}: of the divergence hutchinson, and --divergence is {}",
         request.ode.ode.probes, request.ode.ode.divergence);
}

void check(EvaluateFlags& flags) {
  EvaluateRequest& request = flags.request;
  if (flags.estimator != "closed" && flags.estimator != "mc")
    fail_unknown("estimator", flags.estimator, {"closed", "mc"});
  if (flags.labels != "data" && flags.labels != "none")
    fail_unknown("--labels", flags.labels, {"data", "none"});
  if (request.bpd.images < 0)
    fail("--n {}: expected how many images, or 0 for all", request.bpd.images);
  if (request.bpd.t_per_image < 2 || request.bpd.t_per_image % 2 != 0)
    fail("--t-per-image {}: expected an even number from 2 on", request.bpd.t_per_image);
  request.bpd.monte_carlo = flags.estimator == "mc";
  request.tell_labels = flags.labels == "data";
  request.ode.images = request.bpd.images, request.ode.seed = request.bpd.seed;
  if (!flags.plot.empty()) require_chart(flags.plot);
  if (!flags.table.empty() && std::filesystem::path(flags.table).extension() != ".csv")
    fail("--table {}: unknown extension; known: .csv", flags.table);
  require_free({{"--out", flags.out}, {"--plot", flags.plot}, {"--table", flags.table}},
               flags.force);
}

void evaluate(const CLI::App& verb, EvaluateFlags& flags) {
  apply_common();
  const Metrics metrics = CLI::detail::split(flags.metrics, ',');
  for (const std::string& metric : metrics)
    if (metric != "bpd" && metric != "bpd_ode") fail_unknown("metric", metric, {"bpd", "bpd_ode"});
  check(flags);
  check_heeded(verb, flags, metrics);

  Model model = load_model(find_model(flags.model), common.device);
  Json json = {{"model", model.name}};
  const auto start = std::chrono::steady_clock::now();
  if (holds(metrics, "bpd")) {
    ProgressBar bar("evaluating");
    const EvaluateResult e = evaluate_bpd(model, flags.request, std::ref(bar), interrupts());
    bar.finish();
    print_bound(e);
    json.update(json_of(e));
    if (!flags.plot.empty()) {
      write_plot(flags.plot, e);
      print("wrote " + flags.plot);
    }
    if (!flags.table.empty()) {
      write_table(flags.table, e.bpd);
      print("wrote " + flags.table);
    }
  }
  if (holds(metrics, "bpd_ode")) {
    ProgressBar bar("integrating");
    const OdeResult e = evaluate_bpd_ode(model, flags.request, std::ref(bar), interrupts());
    bar.finish();
    print_ode(e);
    json.update(json_of(e));
  }
  json["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!flags.out.empty()) {
    write_json(flags.out, json);
    print("wrote " + flags.out);
  }
  if (common.json) print_json(json);
}

}  // namespace

void add_evaluate(CLI::App& app) {
  CLI::App& verb = *app.add_subcommand("evaluate", "how good a model is, in figures");
  auto flags = std::make_shared<EvaluateFlags>();
  EvaluateRequest& request = flags->request;
  verb.add_option("model", flags->model, "a model folder (ours or diffusers'), or a known name")
      ->required();
  verb.add_option("--data", request.data,
                  "images the model has not seen: a dataset spec (tweedie list data), its @test "
                  "part; default: what its training held out");
  verb.add_option("--metrics", flags->metrics,
                  "bpd: bits/dim by the variational bound, with its terms; bpd_ode: by the "
                  "probability-flow ODE")
      ->capture_default_str();
  verb.add_option("--n", request.bpd.images, "images, the first so many; 0 is all")
      ->capture_default_str();
  verb.add_option("--t-per-image", request.bpd.t_per_image,
                  "steps of the chain drawn for each image; even")
      ->capture_default_str();
  verb.add_flag("--exact", request.bpd.exact, "every step of the chain instead");
  verb.add_option("--estimator", flags->estimator,
                  "closed; mc: the KL terms by one draw each as well, and the variances' ratio")
      ->capture_default_str();
  verb.add_option("--steps", request.steps, "of a strided chain, which has a bound of its own");
  verb.add_option("--spacing", request.spacing,
                  "of that chain: leading, linspace, trailing, quadratic; or a respacing, which "
                  "says itself how many steps: 250, 10,15,20, ddim50");
  verb.add_option("--variance", request.variance_type,
                  "fixed_small, fixed_large, ...: over the folder's");
  CLI::Option* clip = verb.add_flag_callback(
      "--clip", [flags] { flags->request.clip_sample = true; },
      "clip the estimate of x_0 to the data range, whatever the folder says");
  verb.add_flag_callback(
          "--no-clip", [flags] { flags->request.clip_sample = false; },
          "neither clip nor threshold it")
      ->excludes(clip);
  verb.add_option("--labels", flags->labels, "data: the network is told each image's; none")
      ->capture_default_str();
  verb.add_flag("--tanh-decoder", request.tanh_decoder, "OpenAI's approximation in L_0");
  verb.add_option("--seed", request.bpd.seed, "of t and noise")->capture_default_str();
  verb.add_option("--batch", request.batch, "images at once: bounds the memory")
      ->capture_default_str();
  OdeBpdOptions& ode = request.ode;
  verb.add_option("--ode-steps", ode.steps, "bpd_ode: steps, uniform in log-SNR")
      ->capture_default_str();
  verb.add_option("--divergence", ode.ode.divergence,
                  "bpd_ode: hutchinson, a backward pass a probe, or exact, one a scalar")
      ->capture_default_str();
  verb.add_option("--probes", ode.ode.probes, "bpd_ode: of hutchinson")->capture_default_str();
  verb.add_option("--dequantise", ode.dequantisation,
                  "bpd_ode: variational (a bound on the bits/dim), uniform, or none for points")
      ->capture_default_str();
  verb.add_option("--plot", flags->plot, "also draw the terms over t, a .png or .svg");
  verb.add_option("--table", flags->table,
                  "also write a row a t: its term, draws and the variances' ratio, a .csv");
  verb.add_option("--out", flags->out, "also write the JSON object there");
  verb.add_flag("--force", flags->force, "replace what exists");
  add_common(verb);
  verb.callback([flags, &verb] { evaluate(verb, *flags); });
}

}  // namespace tweedie::cli
